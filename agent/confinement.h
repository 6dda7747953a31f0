// The worker's seccomp(2) filter: the system calls of a process that answers DNS, asks HTTP and writes two small files,
// and no others. A call that is not on the list does not exist for it (ENOSYS): execve, fork and threads, ptrace,
// mount, namespaces, bpf, io_uring, kill and fcntl(2)'s F_SETOWN, socket families other than IP, Unix and rtnetlink.
//
// ENOSYS rather than the end of the process: libraries that try something newer fall back as they do on an older
// kernel, and a call nobody foresaw must not take the node's DNS away. A list of what is allowed rather than of what is
// not, so that what later kernels add is not there either. BPF by hand rather than libseccomp: the list is this one
// page, and no library is linked for it.
#pragma once

#include <expected>
#include <string>

namespace lastlight {

// For this process and for good; needs no_new_privs. On failure why not: an old kernel, or the build with sanitizers,
// whose run-time needs calls of its own (a thread and ptrace for its search for leaks).
std::expected<void, std::string> confine();

}  // namespace lastlight
