#include "dnscache/takeover/nftables.h"

#include <algorithm>
#include <memory>

#include <nftables/libnftables.h>

namespace lastlight::dns {

namespace {

// What it printed.
std::expected<std::string, std::string> run(const std::string& commands, unsigned output) {
  const std::unique_ptr<nft_ctx, decltype(&nft_ctx_free)> context(nft_ctx_new(NFT_CTX_DEFAULT), &nft_ctx_free);
  if (!context) return std::unexpected("libnftables cannot start");
  nft_ctx_output_set_flags(context.get(), output);
  nft_ctx_buffer_output(context.get());
  nft_ctx_buffer_error(context.get());
  if (nft_run_cmd_from_buffer(context.get(), commands.c_str()) == 0) return nft_ctx_get_output_buffer(context.get());
  std::string why = nft_ctx_get_error_buffer(context.get());
  why.resize(std::min(why.size(), why.find('\n')));
  return std::unexpected("nftables: " + (why.empty() ? "refused without a reason" : why));
}

}  // namespace

std::expected<void, std::string> run_nftables(const std::string& commands) {
  if (auto done = run(commands, 0); !done) return std::unexpected(done.error());
  return {};
}

std::expected<std::string, std::string> list_nftables(const std::string& command) {
  return run(command, NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_HANDLE);
}

}  // namespace lastlight::dns
