#include "agent/takeover.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace lastlight {

Takeover::Takeover(io::Loop& loop, Calls calls)
    : loop_(loop), calls_(std::move(calls)), timer_(loop, [this] { turn(); }) {}

void Takeover::start(dns::TakeoverPlan plan) {
  if (state_ == State::Released || (state_ != State::Off && plan == plan_)) return;
  plan_ = std::move(plan);
  if (state_ == State::Standby) return;
  set(State::Raising);
  run_child("up");
  timer_.start_in(plan_.lease / kRenewals);
}

void Takeover::on_child_done(int exit_code) {
  if (children_ > 0) --children_;
  if (state_ == State::Released || state_ == State::Standby) return;
  ++(exit_code == 0 ? counters_.raised : counters_.failed);
  child_due_ = loop_.now() + retry_;
  retry_ = std::min(2 * retry_, kLongestRetry);
  turn();
}

void Takeover::check() {
  if (renewed() || state_ == State::Lost) turn();
}

void Takeover::set_bypassed(bool bypassed) {
  bypassed_ = bypassed;
  if (renewed()) set(bypassed_ ? State::Bypassed : State::Held);
}

void Takeover::standby(bool waiting) {
  if (state_ == State::Off || state_ == State::Released || waiting == (state_ == State::Standby)) return;
  set(waiting ? State::Standby : State::Raising);
  if (waiting) return timer_.stop();
  run_child("up");
  turn();
}

void Takeover::release() {
  if (state_ == State::Off || state_ == State::Released || state_ == State::Standby) return;
  set(State::Released);
  timer_.stop();
  run_child("release");
}

void Takeover::turn() {
  const Instant now = loop_.now();
  timer_.start_at(now + plan_.lease / kRenewals);
  if (calls_.renew()) {
    // Held for a while: whatever happens next is a new fault.
    if (renewed() && now >= child_due_ + kLongestRetry) retry_ = kFirstRetry;
    set(bypassed_ ? State::Bypassed : State::Held);
    return;
  }
  if (renewed()) set(State::Lost);
  if (children_ > 0 || now < child_due_) return;
  counters_.repaired += state_ == State::Lost ? 1 : 0;
  run_child(state_ == State::Lost ? "repair" : "up");
}

void Takeover::run_child(const char* verb) {
  std::vector<std::string> words = dns::to_arguments(plan_);
  words.insert(words.begin(), verb);
  if (calls_.run_child(words)) {
    ++children_;
  } else {
    child_due_ = loop_.now() + kChildPatience;
  }
}

void Takeover::set(State state) {
  if (std::exchange(state_, state) != state) calls_.changed(state);
}

std::string_view Takeover::name(State state) {
  switch (state) {
    case State::Off:
      return "off";
    case State::Raising:
      return "raising";
    case State::Held:
      return "held";
    case State::Bypassed:
      return "bypassed";
    case State::Lost:
      return "lost";
    case State::Released:
      return "released";
    case State::Standby:
      return "standby";
  }
  return "unknown";
}

}  // namespace lastlight
