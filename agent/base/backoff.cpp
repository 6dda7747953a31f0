#include "agent/base/backoff.h"

#include <algorithm>
#include <limits>

namespace lastlight {

Duration Backoff::next(double uniform) {
  // Saturates: doubling stops where it would pass max_, so nothing overflows however long the other side is away.
  Duration ceiling = min_;
  for (std::uint32_t i = 0; i <= failures_ && ceiling < max_; ++i) {
    if (ceiling.count() == 0) ceiling = Duration(1);
    ceiling = ceiling > max_ / 2 ? max_ : ceiling * 2;
  }
  if (failures_ < std::numeric_limits<std::uint32_t>::max()) ++failures_;
  const double spread = static_cast<double>((ceiling - min_).count()) * std::clamp(uniform, 0.0, 1.0);
  return std::min(ceiling, min_ + Duration(static_cast<Duration::rep>(spread)));
}

}  // namespace lastlight
