// The environment of AWS's Node Termination Handler (lines KEY=VALUE) -> the interruption part of our configuration,
// and a remark for each variable that is not carried over as it was. Never fails.
#pragma once

#include <string_view>

#include "agent/config.h"
#include "agent/convert/remark.h"

namespace lastlight::convert {

void add_termination_handler(Config& config, std::string_view environment, Remarks& remarks);

}  // namespace lastlight::convert
