/* Preloaded into the agent by rig/aim.py: whoever asks the kernel for eight random octets, which is how the seed of the
 * tables is drawn, gets eight that the test knows. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

ssize_t getrandom(void* out, size_t size, unsigned flags) {
  if (size != 8) return syscall(SYS_getrandom, out, size, flags);
  memset(out, 0x2A, size);
  return (ssize_t)size;
}
