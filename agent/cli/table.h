// Columns for people: each as wide as its widest cell, the last one free.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace lastlight::cli {

// Rows of equal length; the first is the heading.
void print_table(std::ostream& out, const std::vector<std::vector<std::string>>& rows);

}  // namespace lastlight::cli
