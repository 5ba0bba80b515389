/* fs.c: the file system by name: straight system calls. Only from jobs, or before loops serve anybody. */
#define _GNU_SOURCE 1
#include "common/env/os/os_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/mem.h"

static int result(int rc)
{
	return rc < 0 ? err_from_errno(errno) : 0;
}

int os_fs_open(struct env *env, const char *path, int flags, struct file **ret_f)
{
	int how = O_CLOEXEC | (flags & FS_WRITE ? O_RDWR : O_RDONLY);
	int mode = flags >> 16;

	if (flags & FS_CREATE)
		how |= O_CREAT;
	if (flags & FS_EXCL)
		how |= O_EXCL;
	if (flags & FS_TRUNC)
		how |= O_TRUNC;
	int fd = open(path, how, mode ? mode : 0600);
	if (fd < 0)
		return err_from_errno(errno);
	*ret_f = &os_file_new(env, fd, path)->f;
	return 0;
}

int os_fs_rename(struct env *env, const char *from, const char *to)
{
	return result(rename(from, to));
}

int os_fs_unlink(struct env *env, const char *path)
{
	return result(unlink(path));
}

int os_fs_mkdir(struct env *env, const char *path, int mode)
{
	return result(mkdir(path, (mode_t)mode));
}

int os_fs_rmdir(struct env *env, const char *path)
{
	return result(rmdir(path));
}

int os_fs_sync_dir(struct env *env, const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_from_errno(errno);
	int err = result(fsync(fd));
	close(fd);
	return err;
}

int os_fs_stat(struct env *env, const char *path, struct fs_stat *ret_st)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_from_errno(errno);
	*ret_st = (struct fs_stat){
		.bytes = (uint64_t)st.st_size,
		.mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000,
		.is_dir = S_ISDIR(st.st_mode),
	};
	return 0;
}

int os_fs_set_mtime(struct env *env, const char *path, int64_t mtime_ms)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = mtime_ms / 1000, .tv_nsec = mtime_ms % 1000 * 1000000}};

	return result(utimensat(AT_FDCWD, path, times, 0));
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int os_fs_list(struct env *env, const char *path, struct fs_names *ret_names)
{
	struct fs_names n = {0};
	size_t cap = 0;
	struct dirent *e;
	DIR *d = opendir(path);

	if (!d)
		return err_from_errno(errno);
	for (errno = 0; (e = readdir(d)); errno = 0) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		MEM_GROW(n.names, cap, n.count + 1);
		n.names[n.count++] = mem_strdup(e->d_name);
	}
	int err = errno ? err_from_errno(errno) : 0;
	closedir(d);
	if (err) {
		fs_names_free(&n);
		return err;
	}
	if (n.count)
		qsort(n.names, n.count, sizeof(n.names[0]), compare_names);
	*ret_names = n;
	return 0;
}

int os_fs_space(struct env *env, const char *path, struct fs_space *ret_space)
{
	struct statvfs v;
	struct stat st;

	if (statvfs(path, &v) < 0 || stat(path, &st) < 0)
		return err_from_errno(errno);
	*ret_space = (struct fs_space){
		.bytes_total = (uint64_t)v.f_blocks * v.f_frsize,
		.bytes_free = (uint64_t)v.f_bavail * v.f_frsize,
		.identity = (uint64_t)v.f_fsid * 0x9e3779b97f4a7c15u ^ (uint64_t)st.st_dev,
	};
	return 0;
}

/* flock belongs to the open file: it falls with the process, and a second open of our own process is refused too. */
int os_fs_lock(struct env *env, const char *path, struct file **ret_lock)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_from_errno(errno);
	int waited_ms = 0, failed;
	while ((failed = flock(fd, LOCK_EX | LOCK_NB)) < 0 && errno == EWOULDBLOCK && waited_ms < OS_TAKEN_WAIT_MS) {
		usleep(OS_TAKEN_STEP_MS * 1000);
		waited_ms += OS_TAKEN_STEP_MS;
	}
	if (failed < 0) {
		int err = errno == EWOULDBLOCK ? ERR_LOCKED : err_from_errno(errno);
		close(fd);
		return err;
	}
	*ret_lock = &os_file_new(env, fd, path)->f;
	return 0;
}

void os_fs_unlock(struct file *lock)
{
	file_unref(lock);
}
