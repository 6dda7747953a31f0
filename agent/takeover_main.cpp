// The privileged child: changes the node's network as its arguments say, and ends.
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "agent/cli/takeover.h"

int main(int argc, char** argv) {
  try {
    return lastlight::cli::takeover(std::vector<std::string>(argv + 1, argv + argc), std::cout, std::cerr);
  } catch (const std::exception& error) {
    std::cerr << "lastlight takeover: " << error.what() << '\n';
    return 1;
  }
}
