// The help texts of what the privileged child does, which links no CLI11: it prints them, and so does the manual.
#pragma once

namespace lastlight::cli {

inline constexpr const char* kUninstallUsage =
    "usage: lastlight uninstall [--node-local] [--force] [--interface NAME] [--address IP]... [--output WORD]\n"
    "  Takes rules, link and run directory of lastlight off this node.\n"
    "  --node-local   instead, what NodeLocal DNSCache left: its iptables rules, by their comments, and its link\n"
    "  --force        although an agent (with --node-local: NodeLocal DNSCache) runs\n"
    "  --interface    of takeover.interface (default: lastlight)\n"
    "  --address      to be taken off lo, where the kernel has no dummy links and the rules are gone already\n"
    "  --output, -o   text or json\n";

inline constexpr const char* kTakeoverUsage =
    "usage: lastlight takeover up|repair|release|down [--interface NAME] [--port N] [--lease-ms N]\n"
    "                          [--cluster-ip IP]... [--link-local IP=FALLBACK]...\n"
    "  Changes the node's network as the running agent asks it to; nothing to type.\n";

}  // namespace lastlight::cli
