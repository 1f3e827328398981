/* Fails or logs the system calls of this process on paths below a folder. Loaded with LD_PRELOAD; controlled by the
   functions `torture_*`. Disarmed, every call passes through. One thread at a time changes an index, and so the state
   here needs no lock. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WRITE, PWRITE, FSYNC, FTRUNCATE, MMAP, RENAME, UNLINK, OPEN, LINK, MKDIR };

static char prefix[PATH_MAX];
static int call = -1, error, at, forever, count, fired, log_fd = -1;

void torture_arm(const char *folder, int which, int code, int position, int always) {
  snprintf(prefix, sizeof prefix, "%s", folder);
  call = which, error = code, at = position, forever = always, count = fired = 0;
}
int torture_count(void) { return count; }
int torture_fired(void) { return fired; }
void torture_log(const char *folder, int fd) { snprintf(prefix, sizeof prefix, "%s", folder), log_fd = fd; }

static int below(const char *path) { return prefix[0] && !strncmp(path, prefix, strlen(prefix)); }
static const char *path_of(int fd, char *buffer) {
  char name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, name, buffer, PATH_MAX - 1);
  buffer[length < 0 ? 0 : length] = 0;
  return buffer;
}
/* 0: pass; 1: fail, errno is set; 2: a short write. */
static int fate(int which, const char *path) {
  if (which != call || !below(path)) return 0;
  if (!(++count == at || (forever && count > at))) return 0;
  ++fired;
  if (error < 0) return 2;
  errno = error;
  return 1;
}
static int fate_fd(int which, int fd) {
  char buffer[PATH_MAX];
  return which == call ? fate(which, path_of(fd, buffer)) : 0;
}

static void put(const void *data, size_t size) {
  const char *bytes = data;
  while (size) {
    ssize_t done = syscall(SYS_write, log_fd, bytes, size);
    if (done <= 0) return;
    bytes += done, size -= done;
  }
}
/* A record: kind, offset, lengths of two strings, the strings. */
static void record(char kind, int64_t offset, const void *a, size_t na, const void *b, size_t nb) {
  if (log_fd < 0) return;
  uint64_t sizes[2] = {na, nb};
  put(&kind, 1), put(&offset, 8), put(sizes, 16), put(a, na), put(b, nb);
}
void torture_mark(int number) { record('A', number, "", 0, "", 0); }
static void log_fd_event(char kind, int fd, int64_t offset, const void *data, size_t size) {
  if (log_fd < 0) return;
  char buffer[PATH_MAX];
  const char *path = path_of(fd, buffer);
  if (below(path)) record(kind, offset, path, strlen(path), data, size);
}
static void log_paths(char kind, const char *a, const char *b) {
  if (log_fd >= 0 && (below(a) || below(b))) record(kind, 0, a, strlen(a), b, strlen(b));
}

#define REAL(type, name, ...) \
  static type (*real)(__VA_ARGS__); \
  if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void *data, size_t size) {
  REAL(ssize_t, "write", int, const void *, size_t);
  int f = fate_fd(WRITE, fd);
  if (f == 1) return -1;
  if (f == 2 && size > 1) size /= 2;
  int64_t offset = log_fd < 0 ? 0 : lseek(fd, 0, SEEK_CUR);
  ssize_t done = real(fd, data, size);
  if (done > 0) log_fd_event('W', fd, offset, data, done);
  return done;
}
#define PWRITE_AS(name) \
  ssize_t name(int fd, const void *data, size_t size, off64_t offset) { \
    REAL(ssize_t, #name, int, const void *, size_t, off64_t); \
    int f = fate_fd(PWRITE, fd); \
    if (f == 1) return -1; \
    if (f == 2 && size > 1) size /= 2; \
    ssize_t done = real(fd, data, size, offset); \
    if (done > 0) log_fd_event('W', fd, offset, data, done); \
    return done; \
  }
PWRITE_AS(pwrite)
PWRITE_AS(pwrite64)
#define SYNC_AS(name) \
  int name(int fd) { \
    REAL(int, #name, int); \
    if (fate_fd(FSYNC, fd)) return -1; \
    int status = log_fd < 0 ? real(fd) : 0; \
    if (!status) log_fd_event('S', fd, 0, "", 0); \
    return status; \
  }
SYNC_AS(fsync)
SYNC_AS(fdatasync)
#define TRUNCATE_AS(name) \
  int name(int fd, off64_t size) { \
    REAL(int, #name, int, off64_t); \
    if (fate_fd(FTRUNCATE, fd)) return -1; \
    int status = real(fd, size); \
    if (!status) log_fd_event('T', fd, size, "", 0); \
    return status; \
  }
TRUNCATE_AS(ftruncate)
TRUNCATE_AS(ftruncate64)
#define MMAP_AS(name) \
  void *name(void *address, size_t size, int protection, int flags, int fd, off64_t offset) { \
    REAL(void *, #name, void *, size_t, int, int, int, off64_t); \
    if (call == MMAP && fd >= 0 && fate_fd(MMAP, fd)) return MAP_FAILED; \
    return real(address, size, protection, flags, fd, offset); \
  }
MMAP_AS(mmap)
MMAP_AS(mmap64)
int rename(const char *a, const char *b) {
  REAL(int, "rename", const char *, const char *);
  if (fate(RENAME, a)) return -1;
  int status = real(a, b);
  if (!status) log_paths('R', a, b);
  return status;
}
int renameat2(int first, const char *a, int second, const char *b, unsigned flags) {
  REAL(int, "renameat2", int, const char *, int, const char *, unsigned);
  if (fate(RENAME, a)) return -1;
  int status = real(first, a, second, b, flags);
  if (!status) log_paths(flags & 2 ? 'X' : 'R', a, b);
  return status;
}
#define REMOVE_AS(name) \
  int name(const char *path) { \
    REAL(int, #name, const char *); \
    if (fate(UNLINK, path)) return -1; \
    int status = real(path); \
    if (!status) log_paths('U', path, ""); \
    return status; \
  }
REMOVE_AS(unlink)
REMOVE_AS(rmdir)
int mkdir(const char *path, mode_t mode) {
  REAL(int, "mkdir", const char *, mode_t);
  if (fate(MKDIR, path)) return -1;
  int status = real(path, mode);
  if (!status) log_paths('D', path, "");
  return status;
}
#define LINK_BODY(...) \
  if (fate(LINK, b)) return -1; \
  int status = real(__VA_ARGS__); \
  if (!status) log_paths('L', a, b); \
  return status;
int link(const char *a, const char *b) {
  REAL(int, "link", const char *, const char *);
  LINK_BODY(a, b)
}
int linkat(int first, const char *a, int second, const char *b, int flags) {
  REAL(int, "linkat", int, const char *, int, const char *, int);
  LINK_BODY(first, a, second, b, flags)
}
#define OPEN_BODY(...) \
  mode_t mode = 0; \
  if (flags & (O_CREAT | O_TMPFILE)) { \
    va_list arguments; \
    va_start(arguments, flags); \
    mode = va_arg(arguments, int); \
    va_end(arguments); \
  } \
  if (fate(OPEN, path)) return -1; \
  int absent = log_fd >= 0 && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0; \
  int fd = real(__VA_ARGS__); \
  if (fd >= 0 && absent) log_paths('C', path, ""); \
  if (fd >= 0 && !absent && (flags & O_TRUNC)) log_fd_event('T', fd, 0, "", 0); \
  return fd;
int open(const char *path, int flags, ...) {
  REAL(int, "open", const char *, int, ...);
  OPEN_BODY(path, flags, mode)
}
int open64(const char *path, int flags, ...) {
  REAL(int, "open64", const char *, int, ...);
  OPEN_BODY(path, flags, mode)
}
