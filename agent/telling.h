// The words for what the interruption half tells: stable event names for logs, and advice an operator can act on.
#pragma once

#include <string_view>

#include "interrupt/drain.h"
#include "interrupt/notice.h"
#include "interrupt/policy.h"
#include "interrupt/sources/source.h"

namespace lastlight {

std::string_view event_name(interrupt::Fact::Kind kind);
std::string_view advice(interrupt::Diagnosis diagnosis);
void tell_notice(const interrupt::Notice& notice, Treatment treatment, std::string_view node, Instant now);

}  // namespace lastlight
