#include "agent/cache_image.h"

#include <string>
#include <utility>

#include "agent/base/log.h"
#include "agent/io/sealed_memory.h"

namespace lastlight {

namespace {

constexpr Bytes kLargest = mib(256);  // far above a quarter of any cache that a node has room for

}  // namespace

CacheImage::CacheImage(io::Loop& loop, dns::Forwarder& forwarder,
                       std::move_only_function<void(io::FileDescriptor)> written)
    : loop_(loop), forwarder_(forwarder), written_(std::move(written)), timer_(loop, [this] { turn(); }) {}

void CacheImage::write() {
  auto memory = io::SealedMemory::create("lastlight-cache");
  if (!memory) {
    log::warn("cache_image.not_written", {{"error", memory.error()}});
    return written_({});
  }
  memory_ = std::move(*memory);
  due_ = loop_.now() + kPatience;
  forwarder_.begin_image(loop_.now());
  timer_.start_in({});
}

void CacheImage::turn() {
  const Instant now = loop_.now();
  ByteBuffer slice;
  const bool more = forwarder_.image_slice(slice, now);
  const bool good = io::SealedMemory::append(memory_, slice);
  if (good && more && now < due_) return timer_.start_in({});
  const ByteBuffer end = forwarder_.end_image();
  finish(good && io::SealedMemory::append(memory_, end) && io::SealedMemory::seal(memory_));
}

void CacheImage::finish(bool good) {
  io::FileDescriptor memory = std::exchange(memory_, {});
  log::info("cache_image.written", {{"good", good}});
  written_(good ? std::move(memory) : io::FileDescriptor());
}

void restore_cache(const io::FileDescriptor& image, dns::Forwarder& forwarder, io::Loop& loop) {
  if (!image) return;
  const Instant began = loop.refresh();
  const auto mapped = io::SealedMemory::map(image, kLargest);
  if (!mapped) return log::warn("cache_image.refused", {{"error", mapped.error()}});
  const auto kept = forwarder.restore(mapped->octets(), began);
  if (!kept) return log::warn("cache_image.refused", {{"error", dns::describe(kept.error())}});
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(loop.refresh() - began);
  log::info("cache_image.restored",
            {{"answers", *kept}, {"octets", mapped->octets().size()}, {"milliseconds", took.count()}});
}

}  // namespace lastlight
