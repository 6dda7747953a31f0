// TCP for servers: a listener, and a connection with a bounded write queue, three time limits and half-close. Frames
// nothing: the owner is given bytes as they come, and tells what it waits for. RFC 7766 s6.2.3, s6.2.4, s10. Bounds:
// one accept burst per turn; 16 KiB of kernel buffer each way; a peer that does not read costs max_queued bytes
// beside that, then its connection. Out of descriptors, the listener rests (the backlog holds the peers) instead of
// spinning.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>

#include "agent/base/address.h"
#include "agent/base/bytes.h"
#include "agent/io/file_descriptor.h"
#include "agent/io/listening_socket.h"
#include "agent/io/poll.h"
#include "agent/io/timer.h"

namespace lastlight::io {

class TcpListener {
 public:
  using Accepted = std::move_only_function<void(FileDescriptor, const Endpoint& peer)>;
  static std::expected<std::unique_ptr<TcpListener>, std::string> listen(
      Loop& loop, const Endpoint& where, Accepted accepted, const SocketSource& source = open_listening_socket);

  const Endpoint& local() const { return local_; }
  std::uint64_t rests() const { return rests_; }  // how often descriptors or memory ran out
  void stop();                                    // accepts no more
  void start();                                   // accepts again

 private:
  TcpListener(Loop& loop, FileDescriptor fd, Endpoint local, Accepted accepted);
  void accept_burst();

  FileDescriptor fd_;
  Endpoint local_;
  Accepted accepted_;
  Poll poll_;
  Timer rested_;
  bool stopped_ = false;
  std::uint64_t rests_ = 0;
};

class TcpConnection {
 public:
  struct Limits {
    Duration idle;           // neither read nor written for so long while the peer was owed nothing: closed
    Duration message;        // from the first bytes of a message to its last
    Duration write;          // the peer read nothing of what waits for it
    std::size_t max_queued;  // bytes that wait for the peer to read
  };
  enum class Closed {
    Finished,
    Idle,
    Unfinished,  // Limits::message
    Stalled,     // Limits::write
    Slow,        // Limits::max_queued
    Refused,     // the owner did not want the bytes
    Error
  };
  struct Calls {
    // False: close. Must not destroy the connection.
    std::move_only_function<bool(ByteView)> received;
    // The peer will send no more, but may still read (RFC 7766 s6.2.4): answers may be written, then finish(). Must not
    // destroy.
    std::move_only_function<void()> half_closed;
    std::move_only_function<void(Closed)> closed;  // the last call; may destroy the connection
  };

  TcpConnection(Loop& loop, FileDescriptor fd, Limits limits, Calls calls);
  void write(ByteView bytes);       // a peer that exceeds max_queued is closed on a later turn
  void finish();                    // close once all is written, on a later turn
  void pause_reading(bool paused);  // time that is not read in does not count as the peer's
  // What the owner knows of the stream. The rest of a message is awaited, from now on (each call starts anew), or none
  // has begun; the peer is owed an answer, or is not.
  void await_rest(bool begun);
  void owe(bool answer);
  void drop() { close_later(Closed::Refused); }
  std::size_t queued() const { return queue_.size() - written_; }

 private:
  void ready(Poll::Ready event);
  bool read();   // false: closed() has been called, *this may be gone
  bool flush();  // likewise
  void update();
  Instant due() const;
  void arm();
  void on_time();
  void close_later(Closed why);
  bool close(Closed why);

  Loop& loop_;
  FileDescriptor fd_;  // closed after poll_, which is destroyed first
  Limits limits_;
  Calls calls_;
  ByteBuffer queue_;
  std::size_t written_ = 0;
  bool peer_done_ = false;
  bool paused_ = false;
  bool finishing_ = false;
  bool owing_ = false;
  Instant active_;                 // last read or written
  Instant begun_ = kNever;         // a message
  Instant read_by_peer_ = kNever;  // last progress of the queue
  Poll poll_;
  Timer timer_;  // never later than due(): it is set anew when it was too early, not with every byte
  Instant armed_ = kNever;
  std::optional<Closed> doomed_;
};

}  // namespace lastlight::io
