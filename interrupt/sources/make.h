// The source that the configuration names.
#pragma once

#include <memory>

#include "interrupt/sources/reading.h"

namespace lastlight::interrupt {

std::unique_ptr<Source> make_source(const InterruptionConfig& config, Uniform uniform);  // not for Source::None

}  // namespace lastlight::interrupt
