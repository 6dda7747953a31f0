// What the status page shows and `GET /status` answers: the same counters as a scrape, and of a drain each pod, as one
// JSON document. Counters only grow; rates are the reader's, from two readings. Times are seconds (`_seconds`) or
// milliseconds (`_ms`), sizes octets; what is not known is null.
//
// interruption.drain.pods: `fate` is what became of it (evicted, deleted, told, gone, stays, refused, waiting,
// forbidden, returned), `by` what told it; `told_seconds`, `gone_seconds` and `delete_at_seconds` (of one that is not
// told yet: when a DELETE takes the place of the eviction that a budget refuses) count from the notice.
#pragma once

#include <string>

#include "metrics/scrape.h"

namespace lastlight::metrics {

std::string status_json(const Scrape& scrape, bool ready);

}  // namespace lastlight::metrics
