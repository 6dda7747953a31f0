// What proc(5) says of this process.
#pragma once

#include "metrics/scrape.h"

namespace lastlight {

// Reads three small files; what cannot be read is 0.
metrics::Process read_process_stats(Duration up);

}  // namespace lastlight
