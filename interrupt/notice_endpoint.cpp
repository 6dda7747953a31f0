#include "interrupt/notice_endpoint.h"

#include <algorithm>
#include <utility>

namespace lastlight::interrupt {
namespace {

// A waiter's id: which listener, and the request's number there.
constexpr unsigned kShift = 48;
constexpr std::uint64_t kMask = (std::uint64_t{1} << kShift) - 1;

// Room for some that do not wait, so that one more than kMaxWaiters is told so; a connection's memory is bounded by its
// buffer.
io::HttpServerOptions options() {
  io::HttpServerOptions out;
  out.max_connections = NoticeBoard::kMaxWaiters + 64;
  out.max_per_client = 4 * NoticeBoard::kMaxPerClient;
  out.max_body = 0;
  out.buffer = 4U << 10;
  return out;
}

}  // namespace

NoticeEndpoint::NoticeEndpoint(io::Loop& loop)
    : loop_(loop),
      wait_timer_(loop, [this] { on_time(); }),
      portion_timer_(loop, [this] { answer_portion(); }),
      retry_timer_(loop, [this] {
        for (std::size_t i = 0; i < listeners_.size(); ++i)
          open(i);
      }) {}

void NoticeEndpoint::listen(const Endpoint& where, Told told) {
  listeners_.push_back(std::make_unique<Listener>());
  listeners_.back()->where = where;
  listeners_.back()->told = std::move(told);
  open(listeners_.size() - 1);
}

void NoticeEndpoint::open(std::size_t index) {
  Listener& listener = *listeners_[index];
  if (listener.server) return;
  const std::uint64_t base = static_cast<std::uint64_t>(index) << kShift;
  auto opened = io::HttpServer::open(
      loop_, listener.where,
      [this, base](const HttpRequest& request, const IpAddress& client, io::HttpServer::RequestId id) {
        auto reply = board_.on_request(request, client, base | (id & kMask), loop_.now(), io::Loop::read_wall_clock());
        if (!reply) wait_timer_.start_at(board_.wake());
        return reply;
      },
      [this, base](io::HttpServer::RequestId id) { board_.gone(base | (id & kMask)); }, options());
  if (!opened) {
    retry_timer_.start_in(kRetry);
    if (!std::exchange(listener.complained, true)) listener.told(listener.where, opened.error());
    return;
  }
  listener.server = std::move(*opened);
  listener.told({listener.where.address, listener.server->port()}, {});
}

void NoticeEndpoint::on_notice(const Notice& notice) {
  answer(board_.on_notice(notice));
}

void NoticeEndpoint::on_withdrawn(const Withdrawn& withdrawn) {
  answer(board_.on_withdrawn(withdrawn));
}

void NoticeEndpoint::on_time() {
  answer(board_.expire(loop_.now()), board_.etag());
  wait_timer_.start_at(board_.wake());
}

void NoticeEndpoint::answer(const std::vector<NoticeBoard::WaiterId>& waiters, const std::string& known) {
  for (const NoticeBoard::WaiterId id : waiters)
    due_.push_back({id, known});
  if (!due_.empty()) portion_timer_.start_in(Duration::zero());
}

void NoticeEndpoint::answer_portion() {
  const WallTime wall = io::Loop::read_wall_clock();
  for (std::size_t i = 0; i < kPortion && !due_.empty(); ++i) {
    const Due due = std::move(due_.front());
    due_.pop_front();
    listeners_[due.id >> kShift]->server->reply(due.id & kMask, board_.reply(loop_.now(), wall, due.known));
  }
  if (!due_.empty()) portion_timer_.start_in(Duration::zero());
}

}  // namespace lastlight::interrupt
