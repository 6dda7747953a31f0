#include "agent/self_probe.h"

#include <algorithm>
#include <array>
#include <utility>

#include <sys/random.h>

namespace lastlight {

SelfProbe::SelfProbe(io::Loop& loop, std::function<Addresses()> addresses, std::function<void()> changed)
    : loop_(loop), addresses_(std::move(addresses)), changed_(std::move(changed)), timer_(loop, [this] { send(); }) {}

void SelfProbe::probe(const Endpoint& target) {
  targets_.push_back(std::make_unique<Target>());
  targets_.back()->where = target;
  timer_.start_in(Duration::zero());
}

std::optional<Instant> SelfProbe::last_answer() const {
  return targets_.empty() ? std::nullopt : targets_.front()->last_answer;
}

std::vector<Endpoint> SelfProbe::bypassed() const {
  std::vector<Endpoint> found;
  for (const auto& target : targets_) {
    if (target->proof.bypassed()) found.push_back(target->where);
  }
  return found;
}

bool SelfProbe::open(Target& target) {
  if (target.poll) return true;
  sockaddr_storage address;
  const socklen_t size = target.where.to_sockaddr(address);
  io::FileDescriptor socket(::socket(address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) return false;
  target.socket = std::move(socket);
  target.poll.emplace(loop_, target.socket.get(), [this, &target](io::Poll::Ready ready) {
    receive(target);
    if (ready.error != 0) target.poll->watch(true, false);  // an ICMP error, read now; libuv has stopped watching
  });
  target.poll->watch(true, false);
  return true;
}

void SelfProbe::send() {
  const bool first = std::ranges::any_of(targets_, [](const auto& target) { return !target->last_answer; });
  timer_.start_in(first ? kInterval / 20 : kInterval);
  if (addresses_() == Addresses::Others) return;
  for (const auto& target : targets_) {
    std::array<std::uint8_t, PathProof::kRandom> random;
    if (!open(*target) || ::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) continue;
    const ByteView query = target->proof.next(random);
    // A failure to send is no answer; the next probe tries again.
    static_cast<void>(::send(target->socket.get(), query.data(), query.size(), MSG_NOSIGNAL));
  }
}

void SelfProbe::on_probe(ByteView query) {
  for (const auto& target : targets_) {
    const bool bypassed = target->proof.bypassed();
    if (target->proof.on_query(query) && bypassed) changed_();
  }
}

void SelfProbe::receive(Target& target) {
  std::array<std::uint8_t, 512> answer;
  for (;;) {
    const ssize_t size = ::recv(target.socket.get(), answer.data(), answer.size(), 0);
    if (size < 0) return;
    const bool bypassed = target.proof.bypassed();
    if (target.proof.on_answer(ByteView(answer).first(static_cast<std::size_t>(size)),
                               addresses_() == Addresses::TakenOver))
      target.last_answer = loop_.now();
    if (target.proof.bypassed() != bypassed) changed_();
  }
}

}  // namespace lastlight
