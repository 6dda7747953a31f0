// The node's marks as a small state machine: annotation, cordon and label in one PATCH, the taint in a second; later
// their removal, each tested for our value first. It owns what is known of the Node object and which call is next; at
// most one of its calls is in flight. It never touches what others put there: a foreign taint, label or cordon stays.
//   - A weaker mark takes the place of a stronger one by taking that away first.
//   - 403, or 422 from the cordon, is permanent: told once. Everything else is tried again for as long as it is wanted.
//   - A person uncordons: cordoned once more; the second time it is told and left.
//   - The Node object was deleted: marked again once it is back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/backoff.h"
#include "agent/base/http.h"
#include "agent/kube/node.h"

namespace lastlight::interrupt {

class NodeMarks {
 public:
  enum class Call { Cordon, Taint, Read, Unmark };
  enum class Happened {
    Cordoned,
    CordonFailed,
    Tainted,
    TaintFailed,
    UncordonedByOther,  // and cordoned again, or left: the text says which
    NodeDeleted,
    Unmarked,
    UnmarkFailed
  };
  struct Told {
    Happened what;
    std::string text;
  };
  struct Next {
    Call call;
    HttpRequest request;
  };

  NodeMarks(std::string node, std::string taint_key, const kube::Server& server)
      : node_(std::move(node)),
        taint_{.key = std::move(taint_key), .value = {}, .effect = "NoSchedule"},
        server_(server) {}

  // `value` of the annotation; the same again changes nothing, another is written.
  void set(const std::string& value, kube::Mark mark, Instant now);
  void clear(Instant now);

  std::optional<Next> next(Instant now);
  Instant wake() const;     // of next(), kNever while it waits for a reply or has nothing to do
  void hurry(Instant now);  // the server answers again: a cordon that waits for its next try is asked for at once
  // The cordon that waits for its reply was sent at this instant; kNever when none does.
  Instant cordon_asked() const { return in_flight_ && step_ == Step::Cordon ? asked_ : kNever; }
  std::vector<Told> on_reply(const HttpReply& reply, Instant now, double uniform);
  std::vector<Told> on_node(const kube::Node& node, Instant now);
  std::vector<Told> on_deleted(Instant now);

  bool cordoned() const { return cordoned_; }  // by our call: the node is marked
  bool hopeless() const { return hopeless_; }
  bool idle() const { return step_ == Step::Done; }
  bool clearing() const { return clearing_; }
  unsigned writes() const { return writes_; }

 private:
  enum class Step { Done, Cordon, Taint, ReadForTaint, ReadToClear, Unmark };
  void go(Step step, Instant now);
  void retry(Instant now, double uniform);
  void cleared(Instant now);
  void read(const HttpReply& reply);
  const kube::Taint* wanted_taint() const;
  bool tainted() const;
  void on_cordon(const HttpReply& reply, Instant now, double uniform, std::vector<Told>& told);
  void on_taint(const HttpReply& reply, Instant now, double uniform, std::vector<Told>& told);
  void on_read(const HttpReply& reply, Instant now, double uniform, std::vector<Told>& told);
  void on_unmark(const HttpReply& reply, Instant now, double uniform, std::vector<Told>& told);
  void taint_failed(const HttpReply& reply, Instant now, std::vector<Told>& told);

  const std::string node_;
  const kube::Taint taint_;
  const kube::Taint soft_{.key = std::string(kube::kSoftTaint), .value = {}, .effect = "PreferNoSchedule"};
  const kube::Server& server_;
  std::string value_;
  kube::Mark mark_ = kube::Mark::SoftTaint;
  std::optional<std::pair<std::string, kube::Mark>> afterwards_;  // to set() once what is there was taken away
  kube::Node seen_;                                               // as the newest answer or event had it
  Step step_ = Step::Done;
  bool in_flight_ = false;
  bool restart_ = false;  // set() or clear() came while a call was in flight
  bool clearing_ = false;
  bool cordoned_ = false;
  bool hopeless_ = false;
  bool told_failure_ = false;
  bool to_list_ = true;       // the form of the taint's patch
  unsigned taint_tries_ = 0;  // refused by 422
  unsigned cordoned_again_ = 0;
  unsigned denials_ = 0;  // of the cordon, by 403
  unsigned failures_ = 0;
  unsigned writes_ = 0;
  Instant at_{};
  Instant asked_{};
};

}  // namespace lastlight::interrupt
