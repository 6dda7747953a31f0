// Who waits for one question: where each answer goes, and what is needed of the query to write it, since its packet is
// gone by then. The questions stand together in one buffer, so that who comes and goes takes no memory anew.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "agent/base/bytes.h"
#include "agent/base/time.h"
#include "dnscache/admission.h"
#include "dnscache/forwarder.h"
#include "dnscache/query.h"

namespace lastlight::dns {

// A client that was told "nothing now".
struct Waiter {
  Client to;
  Instant since;
  Admission::Place* place = nullptr;  // that it holds
  Query asked;                        // its question is gone: see Waiters::query
  std::uint32_t question_end = 0;     // in Waiters' buffer
};

class Waiters {
 public:
  void add(const Query& query, const Client& client, Admission::Place& place, Instant now) {
    questions_.insert(questions_.end(), query.question.begin(), query.question.end());
    each_.push_back({client, now, &place, query, static_cast<std::uint32_t>(questions_.size())});
  }
  // The query as it was, its question pointing into our own copy.
  Query query(std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : each_[i - 1].question_end;
    Query out = each_[i].asked;
    out.question = ByteView(questions_).subspan(begin, each_[i].question_end - begin);
    return out;
  }
  const Waiter& operator[](std::size_t i) const { return each_[i]; }
  std::size_t size() const { return each_.size(); }
  bool empty() const { return each_.empty(); }
  auto begin() const { return each_.begin(); }
  auto end() const { return each_.end(); }

  // Room for a few is kept for who comes next in the same place: a crowd's would add up.
  static constexpr std::size_t kKept = 4;
  static constexpr std::size_t kKeptOctets = 256;
  void clear() {
    each_.clear();
    questions_.clear();
    if (each_.capacity() > kKept) each_.shrink_to_fit();
    if (questions_.capacity() > kKeptOctets) questions_.shrink_to_fit();
  }
  std::size_t capacity() const { return each_.capacity(); }

 private:
  std::vector<Waiter> each_;
  ByteBuffer questions_;
};

}  // namespace lastlight::dns
