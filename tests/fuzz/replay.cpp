// Replays a corpus without libFuzzer: every file of the folders given, each whole, then each cut at every length and
// with each octet changed, so that a plain test run covers the neighbourhood of what was once found. Fails if there is
// nothing.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::uint64_t runs = 0;

// A copy of its own, so that AddressSanitizer sees a read past its end.
void run(const std::vector<std::uint8_t>& input, std::size_t size) {
  const auto exact = std::make_unique<std::uint8_t[]>(size);
  std::copy_n(input.begin(), size, exact.get());
  LLVMFuzzerTestOneInput(exact.get(), size);
  ++runs;
}

void replay(const std::filesystem::path& path) {
  constexpr std::size_t kNeighbourhood = 512;
  std::ifstream file(path, std::ios::binary);
  std::vector<std::uint8_t> input{std::istreambuf_iterator<char>(file), {}};
  run(input, input.size());
  if (input.size() > kNeighbourhood) return;
  for (std::size_t size = 0; size < input.size(); ++size)
    run(input, size);
  for (std::uint8_t& octet : input) {
    const std::uint8_t before = octet;
    for (const int change : {0x01, 0x80, 0xC0, 0xFF}) {
      octet = static_cast<std::uint8_t>(before ^ change);
      run(input, input.size());
    }
    octet = before;
  }
}

}  // namespace

int main(int argc, char** argv) {
  int files = 0;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      replay(entry.path());
      ++files;
    }
  }
  std::printf("%d files, %llu runs\n", files, static_cast<unsigned long long>(runs));
  return files == 0 ? 1 : 0;
}
