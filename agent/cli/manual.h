// lastlight(8), written from the help texts of the command line, so that it has every command and flag. troff with the
// man macros, man-pages(7).
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace lastlight::cli {

std::string manual(const CLI::App& app);

}  // namespace lastlight::cli
