// The programs of lastlight, which stand beside each other:
//   lastlight           the supervisor of `run`, and the door to the others; links nothing but the C++ library
//   lastlight-agent     the worker, and every other command
//   lastlight-takeover  changes the node's network and ends
#pragma once

#include <string>

namespace lastlight {

// Of `lastlight` alone: the path of the program "lastlight-" + name.
std::string program_beside(const char* name);

}  // namespace lastlight
