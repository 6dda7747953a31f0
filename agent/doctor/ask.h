// One DNS question over UDP or TCP, from this network namespace or a pod's, and blocking: for a command. A socket stays
// in the namespace in which it was made, so the thread is there for a moment only. Needs CAP_SYS_ADMIN for a pod's.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "agent/base/address.h"
#include "agent/base/time.h"
#include "agent/io/file_descriptor.h"
#include "agent/name_probe.h"

namespace lastlight::doctor {

struct Place {
  std::string name;            // "this node", "a pod (10.244.1.2, pid 4711)"
  io::FileDescriptor network;  // empty: our own namespace
};

// The namespaces of this machine's pods, by /proc: those with an address of their own, at most `most`. Empty in a pod,
// which sees its own processes alone.
std::vector<Place> pod_places(std::size_t most);

// That of one process.
std::expected<Place, std::string> place_of(const std::string& pid);

// Told of the socket's own address before anything is sent; an error ends it.
using Prepare = std::function<std::expected<void, std::string>(const Endpoint& own)>;

// The RCODE; nothing in `patience` (asked again at a third of it) is the error "silence".
std::expected<std::uint16_t, std::string> ask(const Place& from, const Endpoint& to, bool tcp, const NameProbe& probe,
                                              Duration patience, const Prepare& prepare);
inline constexpr const char* kSilence = "silence";

}  // namespace lastlight::doctor
