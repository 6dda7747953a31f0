// Gathers what `lastlight doctor` judges: asks the running agent, the privileged child, kube-proxy and /proc, and puts
// questions from a pod's network namespace and from the node's. Blocking; changes nothing, but that one source port at
// a time goes past the lease.
#pragma once

#include <expected>
#include <string>

#include "agent/doctor/facts.h"

namespace lastlight::doctor {

struct Wish {
  std::string network_policies;  // a file with them, "-" for the standard input, empty for none
  int pid = 0;                   // a process of the pod whose network is asked from; 0: the first pod found
};

// Fails only when what was wished cannot be read.
std::expected<Facts, std::string> look(const Wish& wish);

}  // namespace lastlight::doctor
