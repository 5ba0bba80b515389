# brokerd/group: the group coordinator: its pure core (group*)
noinst_LIBRARIES += libkgroup.a
libkgroup_a_SOURCES = \
	brokerd/group/group.c brokerd/group/group.h brokerd/group/group_priv.h \
	brokerd/group/group_delete.c \
	brokerd/group/group_describe.c \
	brokerd/group/group_due.c \
	brokerd/group/group_join.c \
	brokerd/group/group_members.c \
	brokerd/group/group_offsets.c \
	brokerd/group/group_records.c \
	brokerd/group/group_replay.c \
	brokerd/group/group_state.c \
	brokerd/group/group_table.c
