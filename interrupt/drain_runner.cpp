#include "interrupt/drain_runner.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "agent/io/jitter.h"
#include "agent/io/small_file.h"
#include "interrupt/timestamp.h"

namespace lastlight::interrupt {

namespace {

constexpr const char* kBootId = "/proc/sys/kernel/random/boot_id";

}  // namespace

std::string DrainRunner::boot_id() {
  return io::read_secret(kBootId);
}

DrainRunner::DrainRunner(io::Loop& loop, const Config& config, std::string api_server, io::HttpClient& api,
                         OnFact on_fact, OnCheck on_check, std::string_view owner)
    : loop_(loop),
      config_(config),
      api_(api),
      on_fact_(std::move(on_fact)),
      on_check_(std::move(on_check)),
      owner_(owner),
      server_{.base_url = std::move(api_server), .token = {}},
      uniform_(io::jitter()),
      boot_(boot_id()),
      drain_(config.node_name, config.drain, server_, io::jitter()),
      begin_timer_(loop, [this] { begin(); }),
      timer_(loop, [this] { carry_out(drain_.tick(loop_.now())); }),
      check_timer_(loop, [this] { check(); }) {
  begin_timer_.start_in(Duration::zero());
}

DrainRunner::~DrainRunner() {
  api_.cancel(check_request_);
  for (const auto& [order, request] : in_flight_)
    api_.cancel(request);
}

void DrainRunner::begin() {
  if (const auto text = io::read_small_file(config_.drain.state_file)) {
    saved_text_ = *text;
    if (const auto saved = read_saved_drain(*text)) go_on_from(*saved);
  }
  check();
}

// The file, or the node's annotation where the file is gone.
void DrainRunner::go_on_from(const SavedDrain& saved) {
  if (saved.node != config_.node_name || drain_.marks()) return;
  if (saved.owner != owner_ && saved.boot == boot_) return;  // its own affair, while it may live
  const Instant now = loop_.now();
  read_token();
  if (saved.boot != boot_) {
    carry_out(drain_.unmark(now));  // that machine, or that life of it, has ended
  } else if (saved.mark == kube::Mark::Drain) {
    carry_out(drain_.start(saved, now, false));
  } else {
    carry_out(drain_.mark(saved, now, false));
  }
}

SavedDrain DrainRunner::saved_for(const Notice& notice, Instant until) {
  const Instant now = loop_.now();
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - now);
  SavedDrain saved{.notice = notice,
                   .noticed = now,
                   .node = config_.node_name,
                   .boot = boot_,
                   .owner = owner_,
                   .until = format_rfc3339(io::Loop::read_wall_clock() + left)};
  saved.notice.deadline = until;
  return saved;
}

void DrainRunner::drain_for(const Notice& notice) {
  read_token();
  carry_out(drain_.start(saved_for(notice, notice.deadline), loop_.now()));
}

void DrainRunner::mark_for(const Marking& marking) {
  read_token();
  SavedDrain saved = saved_for(marking.notice, marking.until);
  saved.mark = marking.mark;
  carry_out(drain_.mark(saved, loop_.now()));
}

void DrainRunner::withdraw() {
  if (drain_.marks()) carry_out(drain_.withdraw(loop_.now()));
}

void DrainRunner::tell(const Notice& notice) {
  read_token();
  carry_out(drain_.tell_notice(notice, loop_.now()));
}

void DrainRunner::hold(std::optional<Instant> until) {
  if (drain() == nullptr) return;
  drain_.hold(until);
  carry_out(drain_.tick(loop_.now()));
}

void DrainRunner::carry_out(DrainStep step) {
  for (const std::uint64_t cancelled : step.cancel) {
    if (const auto found = in_flight_.find(cancelled); found != in_flight_.end()) {
      api_.cancel(found->second);
      in_flight_.erase(found);
    }
  }
  std::ranges::sort(step.orders, {}, [](const Order& order) { return std::pair(order.priority, order.id); });
  for (Order& order : step.orders)
    send(std::move(order));
  timer_.start_at(step.wake);
  save();
  for (const Fact& fact : drain_.take_facts())
    on_fact_(fact);
}

void DrainRunner::send(Order order) {
  const std::uint64_t id = order.id;
  auto done = [this, id](const HttpReply& reply) {
    in_flight_.erase(id);
    read_token();
    carry_out(drain_.on_reply(id, reply, loop_.now()));
  };
  if (!streams(order.call)) {
    in_flight_[id] = api_.send(std::move(order.request), std::move(done));
    return;
  }
  // A refusal's body is not events: only a 2xx reply's bytes are handed on.
  auto streaming = std::make_unique<bool>(false);
  bool* const accepted = streaming.get();
  in_flight_[id] = api_.stream(
      std::move(order.request), [accepted](int status) { *accepted = status >= 200 && status < 300; },
      [this, id, accepted = std::move(streaming)](std::string_view bytes) {
        if (*accepted) carry_out(drain_.on_watch_bytes(id, bytes, loop_.now()));
      },
      std::move(done));
}

void DrainRunner::check() {
  if (drain_.active(loop_.now())) {  // it learns what is permitted by itself, and has no request to spare
    check_timer_.start_in(std::chrono::minutes(1));
    return;
  }
  read_token();
  auto request = check_.next(server_, config_.node_name, loop_.now());
  if (!request) {
    check_timer_.start_at(check_.wake());
    return;
  }
  check_request_ = api_.send(std::move(*request), [this](const HttpReply& reply) {
    check_request_ = 0;
    carry_out(drain_.hear(reply, loop_.now()));
    const std::vector<std::string> before = check_.missing();
    if (const auto node = check_.on_reply(reply, loop_.now(), uniform_())) {
      if (const auto saved = read_saved_drain(node->annotation)) go_on_from(*saved);
    }
    if (check_.missing() != before) on_check_(check_.missing());
    check();
  });
}

void DrainRunner::read_token() {
  // The last known token may still be good where the file cannot be read.
  if (std::string token = io::read_secret(config_.kubernetes.token_file); !token.empty())
    server_.token = std::move(token);
}

void DrainRunner::save() {
  if (config_.drain.state_file.empty()) return;
  const std::string wanted = drain_.unmarked() || !drain_.marks() ? "" : to_text(drain_.saved());
  const bool kept_for_unmarking = wanted.empty() && !drain_.unmarked();
  if (wanted == saved_text_ || kept_for_unmarking) return;
  // One that cannot be written is not tried again until there is something new to say: the annotation has it too.
  io::write_small_file(config_.drain.state_file, wanted);
  saved_text_ = wanted;
}

}  // namespace lastlight::interrupt
