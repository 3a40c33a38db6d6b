/*
 * A library to be preloaded: writes down, or cuts short, what a process does to the files below DISK_ROOT.
 *
 *   DISK_TRACE=FILE   every change, every sync and every write to standard output, in order; see trace.ts
 *   DISK_KILL=N:HOW   at the Nth change or sync the process is killed: HOW is before, half or after
 *
 * Calls are taken one at a time, so that the order written down is the order in which they were made.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static size_t root_length;
static int trace = -1;
static long kill_at, calls;
static char kill_how;

struct head {
  uint8_t op, spare;
  uint16_t path_length;
  uint32_t data_length;
  uint64_t offset;
};

__attribute__((constructor)) static void start(void) {
  const char *kill_text = getenv("DISK_KILL"), *file = getenv("DISK_TRACE");
  root = getenv("DISK_ROOT");
  root_length = root ? strlen(root) : 0;
  if (file) trace = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (kill_text) {
    kill_at = atol(kill_text);
    kill_how = strchr(kill_text, ':')[1];
  }
}

static int ours(const char *path) {
  return root && strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || !path[root_length]);
}

static int path_of(int fd, char *path) {
  char link[32];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return ours(path);
}

static void note(char op, const char *path, uint64_t offset, const void *data, size_t length) {
  if (trace < 0) return;
  struct head head = {op, 0, strlen(path), length, offset};
  struct iovec parts[] = {{&head, sizeof head}, {(void *)path, head.path_length}, {(void *)data, length}};
  if (syscall(SYS_writev, trace, parts, 3) < 0) abort();
}

static void die(void) { syscall(SYS_kill, getpid(), SIGKILL); for (;;) pause(); }

/* How this call is to go: 0 as it should, else a letter of kill_how. */
static char begin(void) {
  pthread_mutex_lock(&turn);
  calls += 1;
  if (calls != kill_at) return 0;
  if (kill_how == 'b') die();
  return kill_how;
}

static void end(char how) {
  if (how) die();
  pthread_mutex_unlock(&turn);
}

static ssize_t put(int fd, const struct iovec *parts, int count, off_t offset, int positioned) {
  char path[PATH_MAX];
  size_t length = 0;
  for (int at = 0; at < count; at += 1) length += parts[at].iov_len;
  if (fd == 1 && trace >= 0) {
    pthread_mutex_lock(&turn);
    for (int at = 0; at < count; at += 1) note('A', "", 0, parts[at].iov_base, parts[at].iov_len);
    pthread_mutex_unlock(&turn);
    return length;
  }
  if (!path_of(fd, path))
    return positioned ? syscall(SYS_pwritev, fd, parts, count, offset, 0) : syscall(SYS_writev, fd, parts, count);
  char how = begin();
  if (!positioned) {
    int flags = syscall(SYS_fcntl, fd, F_GETFL);
    offset = syscall(SYS_lseek, fd, 0, flags & O_APPEND ? SEEK_END : SEEK_CUR);
  }
  if (how == 'h') {
    if (syscall(SYS_pwrite64, fd, parts[0].iov_base, parts[0].iov_len / 2, offset) < 0) abort();
    die();
  }
  ssize_t done = positioned ? syscall(SYS_pwritev, fd, parts, count, offset, 0) : syscall(SYS_writev, fd, parts, count);
  int error = errno;
  size_t left = done < 0 ? 0 : done;
  for (int at = 0; at < count && left > 0; at += 1) {
    size_t part = parts[at].iov_len < left ? parts[at].iov_len : left;
    note('W', path, offset, parts[at].iov_base, part);
    offset += part;
    left -= part;
  }
  end(how);
  errno = error;
  return done;
}

ssize_t write(int fd, const void *data, size_t length) {
  struct iovec part = {(void *)data, length};
  return put(fd, &part, 1, 0, 0);
}
ssize_t writev(int fd, const struct iovec *parts, int count) { return put(fd, parts, count, 0, 0); }
ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) {
  struct iovec part = {(void *)data, length};
  return put(fd, &part, 1, offset, 1);
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite64(fd, data, length, offset); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) { return put(fd, parts, count, offset, 1); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return put(fd, parts, count, offset, 1); }

static int sync_with(long number, int fd) {
  char path[PATH_MAX];
  if (!path_of(fd, path)) return syscall(number, fd);
  char how = begin();
  int result = syscall(number, fd), error = errno;
  if (result == 0) note('S', path, 0, "", 0);
  end(how);
  errno = error;
  return result;
}

int fsync(int fd) { return sync_with(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_with(SYS_fdatasync, fd); }

int ftruncate64(int fd, off_t length) {
  char path[PATH_MAX];
  if (!path_of(fd, path)) return syscall(SYS_ftruncate, fd, length);
  char how = begin();
  int result = syscall(SYS_ftruncate, fd, length), error = errno;
  if (result == 0) note('T', path, length, "", 0);
  end(how);
  errno = error;
  return result;
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int open_at(int folder, const char *path, int flags, mode_t mode) {
  if (!ours(path) || !(flags & (O_CREAT | O_TRUNC))) return syscall(SYS_openat, folder, path, flags, mode);
  char how = begin();
  int existed = syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
  int fd = syscall(SYS_openat, folder, path, flags, mode), error = errno;
  if (fd >= 0 && !existed) note('C', path, 0, "", 0);
  else if (fd >= 0 && (flags & O_TRUNC)) note('T', path, 0, "", 0);
  end(how);
  errno = error;
  return fd;
}

#define MODE_OF(flags, mode) \
  mode_t mode = 0; \
  if ((flags) & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, int); va_end(rest); }

int open(const char *path, int flags, ...) { MODE_OF(flags, mode) return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags, mode) return open_at(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE_OF(flags, mode) return open_at(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE_OF(flags, mode) return open_at(folder, path, flags, mode); }

int mkdir(const char *path, mode_t mode) {
  if (!ours(path)) return syscall(SYS_mkdirat, AT_FDCWD, path, mode);
  char how = begin();
  int result = syscall(SYS_mkdirat, AT_FDCWD, path, mode), error = errno;
  if (result == 0) note('D', path, 0, "", 0);
  end(how);
  errno = error;
  return result;
}

int rename(const char *from, const char *to) {
  if (!ours(from)) return syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
  char how = begin();
  int result = syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to), error = errno;
  if (result == 0) note('R', from, 0, to, strlen(to));
  end(how);
  errno = error;
  return result;
}

int unlink(const char *path) {
  if (!ours(path)) return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
  char how = begin();
  int result = syscall(SYS_unlinkat, AT_FDCWD, path, 0), error = errno;
  if (result == 0) note('U', path, 0, "", 0);
  end(how);
  errno = error;
  return result;
}
