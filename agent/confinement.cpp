#include "agent/confinement.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <vector>

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace lastlight {

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
#else
constexpr bool kSanitized = false;
#endif

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "which AUDIT_ARCH_ is this? (linux/audit.h)"
#endif

// In the order in which they are looked for: what a query needs comes first. (Linux 5.11 and later keep the answers of
// this list in a bitmap and run no filter at all.)
constexpr long kAllowed[] = {
    SYS_recvmmsg, SYS_sendmmsg, SYS_epoll_pwait, SYS_sendto, SYS_recvfrom, SYS_read, SYS_write,
#if defined(__x86_64__)  // what arm64, being younger, has in its newer form alone
    SYS_epoll_wait, SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_rename, SYS_unlink, SYS_mkdir,
    SYS_chmod, SYS_poll, SYS_select, SYS_pipe, SYS_dup2, SYS_epoll_create, SYS_eventfd, SYS_getrlimit, SYS_time,
    SYS_arch_prctl, SYS_getdents,
#endif
    // sockets and pipes
    SYS_recvmsg, SYS_sendmsg, SYS_readv, SYS_writev, SYS_bind, SYS_listen, SYS_accept, SYS_accept4, SYS_connect,
    SYS_getsockname, SYS_getpeername, SYS_getsockopt, SYS_setsockopt, SYS_shutdown, SYS_pipe2, SYS_dup, SYS_dup3,
    SYS_close, SYS_close_range,
    // waiting
    SYS_epoll_create1, SYS_epoll_ctl, SYS_eventfd2, SYS_ppoll, SYS_pselect6, SYS_timerfd_create, SYS_timerfd_settime,
    SYS_nanosleep, SYS_clock_nanosleep, SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_restart_syscall,
    SYS_inotify_init1, SYS_inotify_add_watch, SYS_inotify_rm_watch,
    // files
    SYS_openat, SYS_fstat, SYS_newfstatat, SYS_statx, SYS_statfs, SYS_fstatfs, SYS_faccessat, SYS_readlinkat,
    SYS_getdents64, SYS_getcwd, SYS_lseek, SYS_pread64, SYS_pwrite64, SYS_ftruncate, SYS_fsync, SYS_fdatasync,
    SYS_renameat, SYS_renameat2, SYS_unlinkat, SYS_mkdirat, SYS_fchmod, SYS_fchmodat, SYS_umask, SYS_memfd_create,
    // memory
    SYS_mmap, SYS_munmap, SYS_mprotect, SYS_mremap, SYS_madvise, SYS_brk,
    // itself
    SYS_futex, SYS_set_robust_list, SYS_rseq, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack,
    SYS_getpid, SYS_getppid, SYS_gettid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getrandom, SYS_getrusage,
    SYS_sysinfo, SYS_uname, SYS_sched_getaffinity, SYS_sched_yield, SYS_getcpu, SYS_exit, SYS_exit_group};

struct Condition {
  unsigned argument;
  std::uint32_t is;
};

constexpr sock_filter load(std::size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
}
constexpr sock_filter skip_unless(std::uint32_t value, std::size_t instructions) {
  return BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, static_cast<std::uint8_t>(instructions));
}
constexpr sock_filter answer(std::uint32_t action) {
  return BPF_STMT(BPF_RET | BPF_K, action);
}
constexpr sock_filter load_number() {
  return load(offsetof(seccomp_data, nr));
}

class Filter {
 public:
  Filter() {
    // Another architecture's numbers (int 0x80) mean other calls.
    code_ = {load(offsetof(seccomp_data, arch)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0),
             answer(kNotThere), load_number()};
  }
  void allow(long number) {
    code_.push_back(skip_unless(static_cast<std::uint32_t>(number), 1));
    code_.push_back(answer(SECCOMP_RET_ALLOW));
  }
  // With all of these arguments. The kernel takes their lower halves for an int.
  void allow(long number, std::initializer_list<Condition> conditions) {
    std::size_t rest = 2 * conditions.size() + 2;
    code_.push_back(skip_unless(static_cast<std::uint32_t>(number), rest));
    for (const Condition& each : conditions) {
      rest -= 2;
      code_.push_back(load(offsetof(seccomp_data, args) + sizeof(std::uint64_t) * each.argument));
      code_.push_back(skip_unless(each.is, rest - 1));
    }
    code_.push_back(answer(SECCOMP_RET_ALLOW));
    code_.push_back(load_number());
  }
  // With this argument.
  void refuse(long number, Condition condition) {
    code_.push_back(skip_unless(static_cast<std::uint32_t>(number), 4));
    code_.push_back(load(offsetof(seccomp_data, args) + sizeof(std::uint64_t) * condition.argument));
    code_.push_back(skip_unless(condition.is, 1));
    code_.push_back(answer(kNotThere));
    code_.push_back(load_number());
  }
  bool install() {
    code_.push_back(answer(kNotThere));
    sock_fprog program{static_cast<unsigned short>(code_.size()), code_.data()};
    // Without the flag (Linux 4.17) older kernels slow every branch of a filtered process down, for the sake of
    // processes that run foreign code.
    return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) == 0 ||
           ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
  }

 private:
  static constexpr std::uint32_t kNotThere = SECCOMP_RET_ERRNO | ENOSYS;
  std::vector<sock_filter> code_;
};

}  // namespace

std::expected<void, std::string> confine() {
  if (kSanitized) return std::unexpected("built with sanitizers");
  Filter filter;
  for (const long number : kAllowed)
    filter.allow(number);
  // By whose means the kernel sends a signal to another process, as kill(2) would, or types into a terminal.
  for (const int command : {F_SETOWN, F_SETOWN_EX, F_SETSIG})
    filter.refuse(SYS_fcntl, {1, static_cast<std::uint32_t>(command)});
  for (const int request : {FIOSETOWN, SIOCSPGRP, TIOCSTI})
    filter.refuse(SYS_ioctl, {1, static_cast<std::uint32_t>(request)});
  filter.allow(SYS_fcntl);
  filter.allow(SYS_ioctl);
  for (const int family : {AF_INET, AF_INET6, AF_UNIX})
    filter.allow(SYS_socket, {{0, static_cast<std::uint32_t>(family)}});
  filter.allow(SYS_socket, {{0, AF_NETLINK}, {2, NETLINK_ROUTE}});
  filter.allow(SYS_prlimit64, {{0, 0}});  // of itself
  filter.allow(SYS_socketpair, {{0, AF_UNIX}});
  filter.allow(SYS_tgkill, {{0, static_cast<std::uint32_t>(::getpid())}});  // abort(3)
  if (!filter.install()) return std::unexpected(std::strerror(errno));
  return {};
}

}  // namespace lastlight
