#include "dnscache/takeover/nftables.h"

#include <algorithm>
#include <memory>

#include <nftables/libnftables.h>

namespace lastlight::dns {

std::expected<void, std::string> run_nftables(const std::string& commands) {
  const std::unique_ptr<nft_ctx, decltype(&nft_ctx_free)> context(nft_ctx_new(NFT_CTX_DEFAULT), &nft_ctx_free);
  if (!context) return std::unexpected("libnftables cannot start");
  nft_ctx_buffer_output(context.get());
  nft_ctx_buffer_error(context.get());
  if (nft_run_cmd_from_buffer(context.get(), commands.c_str()) == 0) return {};
  std::string why = nft_ctx_get_error_buffer(context.get());
  why.resize(std::min(why.size(), why.find('\n')));
  return std::unexpected("nftables: " + (why.empty() ? "refused without a reason" : why));
}

}  // namespace lastlight::dns
