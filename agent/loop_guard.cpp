#include "agent/loop_guard.h"

#include <cstdlib>

#include <sys/random.h>
#include <sys/socket.h>

#include "agent/base/log.h"

namespace lastlight {

namespace {

std::uint16_t random_number() {
  std::uint16_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) std::abort();  // a name that can be guessed is no probe
  return number;
}

}  // namespace

LoopGuard::LoopGuard(io::Loop& loop, std::move_only_function<void()> changed)
    : loop_(loop), changed_(std::move(changed)), probe_(random_number), timer_(loop, [this] { on_timer(); }) {}

void LoopGuard::set_upstreams(std::uint32_t zone, const std::string& name, const std::vector<Endpoint>& upstreams) {
  probe_.set_upstreams(zone, name, upstreams, loop_.now());
  timer_.start_at(probe_.next());
}

std::size_t LoopGuard::on_query(ByteView query, MutableByteView out) {
  const auto found = probe_.on_query(query, out);
  if (!found) return 0;
  if (found->newly) {
    log::error("dns.upstream_loop", {{"zone", found->zone}, {"upstream", found->upstream.to_string()}});
    found_ = true;
    timer_.start_in(Duration::zero());
  }
  return found->size;
}

void LoopGuard::on_timer() {
  const auto step = probe_.on_time(loop_.now());
  if (!step.sends.empty()) sockets_.clear();
  for (const auto& probe : step.sends)
    send(probe);
  timer_.start_at(probe_.next());
  if (step.changed || std::exchange(found_, false)) changed_();
}

void LoopGuard::send(const dns::LoopProbe::Send& probe) {
  sockaddr_storage address;
  const socklen_t size = probe.to.to_sockaddr(address);
  io::FileDescriptor socket(::socket(address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return;  // the next round tries again
  static_cast<void>(::sendto(socket.get(), probe.query.data(), probe.query.size(), MSG_NOSIGNAL,
                             reinterpret_cast<const sockaddr*>(&address), size));
  sockets_.push_back(std::move(socket));
}

}  // namespace lastlight
