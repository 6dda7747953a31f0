// How the supervisor itself was started, for its children: it blocks the signals it reads and asks the kernel to spare
// it when memory is short, and neither is meant for them.
//
// oom_score_adj -1000 needs CAP_SYS_RESOURCE (proc(5)); without it things stay as the kubelet set them. Spared, the
// supervisor outlives a worker that is killed for its memory, even where the kubelet has the whole cgroup killed
// (memory.oom.group), and starts another.
#pragma once

#include <array>
#include <cstddef>

#include <signal.h>

namespace lastlight {

class Origin {
 public:
  void block(const sigset_t& signals);
  bool ask_to_be_spared();
  void give_back() const;  // in a child, before its exec

 private:
  sigset_t mask_{};
  std::array<char, 16> oom_score_adj_{};  // as it was; nothing: it is that still
  std::size_t size_ = 0;
};

}  // namespace lastlight
