// `lastlight uninstall`: takes away everything of ours that a node has: the nftables table with the fallback in it, the
// link or the addresses on `lo`, and what is in the run directory. What a stopped agent leaves on purpose goes too,
// because the kubelet points pods at link-local addresses: their DNS ends here unless something else serves them. With
// --node-local instead what NodeLocal DNSCache left, which an agent that runs does not mind. Part of the privileged
// child. Repeating it is no error.
#pragma once

#include <iosfwd>
#include <span>
#include <string>

namespace lastlight::cli {

// `words`: [--node-local] [--force] [--interface NAME] [--address IP]... 0 when nothing is left, 1 with the reason on
// `errors`, 2 when the words are wrong.
int uninstall(std::span<const std::string> words, std::ostream& out, std::ostream& errors);

}  // namespace lastlight::cli
