/* version.h: the version of the software, in one place (configure.ac has it for the tarball's name). */
#pragma once

#define KLAMM_VERSION "0.1.0"
