// What proc(5) and getrusage(2) say of this process.
#pragma once

#include "metrics/scrape.h"

namespace lastlight {

// What cannot be read is 0.
metrics::Process read_process_stats(Duration up);

}  // namespace lastlight
