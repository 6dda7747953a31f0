// `lastlight takeover exempt ADDRESS PORT`: one client socket's queries go kube-proxy's way while the lease holds, so
// that `lastlight doctor` can prove the way that everybody takes without it and disturb nobody. `exempt` alone ends all
// such exemptions; so does every `up` and `repair`.
#pragma once

#include <expected>
#include <span>
#include <string>

namespace lastlight::cli {

std::expected<void, std::string> exempt(std::span<const std::string> words);

}  // namespace lastlight::cli
