#include "agent/doctor/ask.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <set>

#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "dnscache/wire.h"

namespace lastlight::doctor {

namespace {

namespace files = std::filesystem;

std::unexpected<std::string> failed(const std::string& what) {
  return std::unexpected(what + ": " + std::strerror(errno));
}

io::FileDescriptor open_network(const std::string& path) {
  return io::FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

// Runs `body` with this thread in the namespace.
template <class Body>
auto within(const io::FileDescriptor& network, Body body) -> decltype(body()) {
  if (!network) return body();
  const io::FileDescriptor own = open_network("/proc/thread-self/ns/net");
  if (!own || ::setns(network.get(), CLONE_NEWNET) != 0) return failed("cannot enter its network namespace");
  auto out = body();
  if (::setns(own.get(), CLONE_NEWNET) != 0) return failed("cannot come back from its network namespace");
  return out;
}

// The first that is the namespace's own.
std::expected<std::string, std::string> own_address() {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return failed("no addresses");
  std::string found;
  for (const ifaddrs* each = all; each != nullptr && found.empty(); each = each->ifa_next) {
    const auto endpoint = each->ifa_addr != nullptr ? Endpoint::from_sockaddr(each->ifa_addr) : std::nullopt;
    if (endpoint && (each->ifa_flags & IFF_LOOPBACK) == 0 && !endpoint->address.is_link_local())
      found = endpoint->address.to_string();
  }
  ::freeifaddrs(all);
  if (found.empty()) return std::unexpected("it has no address");
  return found;
}

std::expected<io::FileDescriptor, std::string> open_socket(const Endpoint& to, bool tcp) {
  sockaddr_storage address;
  to.to_sockaddr(address);
  io::FileDescriptor socket(
      ::socket(address.ss_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return failed("no socket");
  return socket;
}

// UDP has an address of its own once it is connected, TCP only when it is bound: to what UDP would take.
std::expected<Endpoint, std::string> bind_as_routed(int socket, const Endpoint& to) {
  sockaddr_storage peer, own{};
  const socklen_t size = to.to_sockaddr(peer);
  const io::FileDescriptor routed(::socket(peer.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  socklen_t own_size = sizeof own;
  if (!routed || ::connect(routed.get(), reinterpret_cast<const sockaddr*>(&peer), size) != 0 ||
      ::getsockname(routed.get(), reinterpret_cast<sockaddr*>(&own), &own_size) != 0)
    return failed("no way to " + to.address.to_string());
  auto source = Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&own));
  source->port = 0;
  sockaddr_storage bound;
  const socklen_t bound_size = source->to_sockaddr(bound);
  own_size = sizeof own;
  if (::bind(socket, reinterpret_cast<const sockaddr*>(&bound), bound_size) != 0 ||
      ::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &own_size) != 0)
    return failed("cannot bind");
  return *Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&own));
}

using Clock = std::chrono::steady_clock;

bool wait_for(int socket, short what, Clock::time_point until) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
  pollfd waits{.fd = socket, .events = what, .revents = 0};
  return left > 0 && ::poll(&waits, 1, static_cast<int>(left)) > 0;
}

std::expected<std::uint16_t, std::string> over_udp(int socket, const NameProbe& probe, Duration patience) {
  const auto end = Clock::now() + patience;
  while (Clock::now() < end) {
    if (::send(socket, probe.query().data(), probe.query().size(), MSG_NOSIGNAL) < 0 && errno != ECONNREFUSED)
      return failed("cannot send");
    const auto again = std::min(end, Clock::now() + patience / 3);
    while (wait_for(socket, POLLIN, again)) {
      std::array<std::uint8_t, 4096> answer;
      const ssize_t size = ::recv(socket, answer.data(), answer.size(), 0);
      if (size < 0 && errno == ECONNREFUSED) return std::unexpected("refused: nobody listens there");
      if (size < 0) return failed("cannot receive");
      if (const auto rcode = probe.rcode_of(ByteView(answer).first(static_cast<std::size_t>(size)))) return *rcode;
    }
  }
  return std::unexpected(kSilence);
}

std::expected<std::uint16_t, std::string> over_tcp(int socket, const NameProbe& probe, Duration patience) {
  const auto end = Clock::now() + patience;
  if (!wait_for(socket, POLLOUT, end)) return std::unexpected(kSilence);
  int error = 0;
  socklen_t error_size = sizeof error;
  ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &error_size);
  if (error == ECONNREFUSED) return std::unexpected("refused: nobody listens there");
  if (error != 0) return std::unexpected(std::string("no connection: ") + std::strerror(error));
  ByteBuffer message(2);
  dns::store16(message, 0, static_cast<std::uint16_t>(probe.query().size()));
  message.insert(message.end(), probe.query().begin(), probe.query().end());
  if (::send(socket, message.data(), message.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(message.size()))
    return failed("cannot send");
  ByteBuffer answer;
  while (answer.size() < 2 || answer.size() < std::size_t{2} + dns::load16(answer, 0)) {
    std::array<std::uint8_t, 4096> part;
    if (!wait_for(socket, POLLIN, end)) return std::unexpected(kSilence);
    const ssize_t size = ::recv(socket, part.data(), part.size(), 0);
    if (size == 0) return std::unexpected("the connection was closed");
    if (size < 0) return failed("cannot receive");
    answer.insert(answer.end(), part.begin(), part.begin() + size);
  }
  const auto rcode = probe.rcode_of(ByteView(answer).subspan(2));
  if (!rcode) return std::unexpected("answered with something else");
  return *rcode;
}

}  // namespace

std::expected<Place, std::string> place_of(const std::string& pid) {
  Place place{.name = {}, .network = open_network("/proc/" + pid + "/ns/net")};
  if (!place.network) return failed("its network namespace cannot be opened");
  const auto address = within(place.network, own_address);
  if (!address) return std::unexpected(address.error());
  place.name = "a pod (" + *address + ", pid " + pid + ")";
  return place;
}

std::vector<Place> pod_places(std::size_t most) {
  std::vector<Place> out;
  std::set<ino_t> seen;
  struct stat about{};
  if (::stat("/proc/self/ns/net", &about) == 0) seen.insert(about.st_ino);
  std::error_code error;
  for (const auto& entry : files::directory_iterator("/proc", error)) {
    const std::string pid = entry.path().filename().string();
    const std::string path = entry.path().string() + "/ns/net";
    if (out.size() >= most) break;
    if (pid.find_first_not_of("0123456789") != std::string::npos || ::stat(path.c_str(), &about) != 0) continue;
    if (!seen.insert(about.st_ino).second) continue;
    if (auto place = place_of(pid)) out.push_back(std::move(*place));
  }
  return out;
}

std::expected<std::uint16_t, std::string> ask(const Place& from, const Endpoint& to, bool tcp, const NameProbe& probe,
                                              Duration patience, const Prepare& prepare) {
  Endpoint own;
  auto socket = within(from.network, [&]() -> std::expected<io::FileDescriptor, std::string> {
    auto made = open_socket(to, tcp);
    if (!made) return made;
    const auto bound = bind_as_routed(made->get(), to);
    if (!bound) return std::unexpected(bound.error());
    own = *bound;
    return made;
  });
  if (!socket) return std::unexpected(socket.error());
  if (prepare) {
    if (auto ready = prepare(own); !ready) return std::unexpected(ready.error());
  }
  sockaddr_storage peer;
  const socklen_t size = to.to_sockaddr(peer);
  if (::connect(socket->get(), reinterpret_cast<const sockaddr*>(&peer), size) != 0 && errno != EINPROGRESS)
    return failed("no connection");
  return tcp ? over_tcp(socket->get(), probe, patience) : over_udp(socket->get(), probe, patience);
}

}  // namespace lastlight::doctor
