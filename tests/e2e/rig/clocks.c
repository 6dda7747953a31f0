/* Preloaded into the agent by rig/clocks.py: CLOCK_REALTIME and CLOCK_BOOTTIME with an offset that a test changes under
 * way, which stand for a wall clock that is set and a machine that was suspended. CLOCK_MONOTONIC goes on. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t* offsets; /* seconds: of CLOCK_REALTIME, of CLOCK_BOOTTIME */

__attribute__((constructor)) static void map_offsets(void) {
  const int fd = open(getenv("RIG_CLOCKS"), O_RDONLY);
  offsets = mmap(NULL, 16, PROT_READ, MAP_SHARED, fd, 0);
  if (fd < 0 || offsets == MAP_FAILED) abort();
  close(fd);
}

int clock_gettime(clockid_t clock, struct timespec* out) {
  const long failed = syscall(SYS_clock_gettime, clock, out);
  if (failed || offsets == NULL) return (int)failed;
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) out->tv_sec += offsets[0];
  if (clock == CLOCK_BOOTTIME) out->tv_sec += offsets[1];
  return 0;
}

time_t time(time_t* out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(struct timeval* restrict out, void* restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}
