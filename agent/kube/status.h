// A reply of the API server that is no success: metav1.Status and the headers beside it.
#pragma once

#include <optional>
#include <string>

#include "agent/base/http.h"
#include "agent/base/json.h"

namespace lastlight::kube {

struct Status {
  int code = 0;
  std::string reason;
  std::string message;
  // Only a 429 with this cause is a PodDisruptionBudget speaking; API Priority and Fairness sends bare 429s.
  bool disruption_budget = false;
  bool namespace_terminating = false;
  std::optional<Duration> retry_after;
};

Status read_status(const HttpReply& reply);
Status read_status(const Json& json);
// "409 the object has been modified"; of a request that nobody answered (code 0), why.
std::string describe(const Status& status);
std::string describe(const HttpReply& reply);

}  // namespace lastlight::kube
