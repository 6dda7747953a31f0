#include "agent/path_proof.h"

#include "tests/support/catch.h"

using lastlight::ByteBuffer;
using lastlight::ByteView;
using lastlight::PathProof;

namespace {

struct Probing {
  PathProof proof;
  std::uint8_t number = 0;

  ByteBuffer send() {
    std::array<std::uint8_t, PathProof::kRandom> random{};
    random.fill(++number);
    const ByteView query = proof.next(random);
    return {query.begin(), query.end()};
  }
  static ByteBuffer answer(ByteBuffer query) {
    query[2] |= 0x80;
    return query;
  }
  bool ours() {
    const ByteBuffer query = send();
    return proof.on_query(query) && proof.on_answer(answer(query), true);
  }
  bool elsewhere(bool in_force = true) { return proof.on_answer(answer(send()), in_force); }
};

}  // namespace

TEST_CASE("a probe is a query of one name below localhost, another each time") {
  Probing probing;
  const ByteBuffer first = probing.send();
  CHECK(PathProof::maybe(first));
  CHECK(first[12] == 30);
  CHECK(std::string(first.begin() + 13, first.begin() + 43) ==
        std::string(30, '0').replace(0, 30, "010101010101010101010101010101"));
  CHECK(std::string(first.begin() + 44, first.begin() + 53) == "localhost");
  const ByteBuffer second = probing.send();
  CHECK(first != second);
  CHECK_FALSE(probing.proof.on_query(first));  // not the one that is out
  CHECK(probing.proof.on_query(second));
  CHECK_FALSE(PathProof::maybe(ByteView(first).first(40)));
}

TEST_CASE("an answer is ours when its query came in at our door") {
  Probing probing;
  CHECK(probing.ours());
  CHECK_FALSE(probing.elsewhere());
  const ByteBuffer query = probing.send();
  probing.proof.on_query(query);
  CHECK_FALSE(probing.proof.on_answer(query, true));                      // a query is no answer
  CHECK_FALSE(probing.proof.on_answer(ByteView(query).first(20), true));  // nor is a piece of one
  CHECK(probing.proof.on_answer(Probing::answer(query), true));
  CHECK_FALSE(probing.proof.on_answer(Probing::answer(query), true));  // once
}

TEST_CASE("bypassed after three answers of somebody else in a row, until a query arrives") {
  Probing probing;
  CHECK(probing.ours());
  for (int i = 0; i < 2; ++i)
    CHECK_FALSE(probing.elsewhere());
  CHECK_FALSE(probing.proof.bypassed());
  probing.send();  // silence proves nothing
  CHECK_FALSE(probing.proof.bypassed());
  probing.elsewhere();
  CHECK(probing.proof.bypassed());
  probing.elsewhere();
  CHECK(probing.proof.bypassed());
  CHECK(probing.ours());
  CHECK_FALSE(probing.proof.bypassed());
}

TEST_CASE("while the lease is not in force, others may answer") {
  Probing probing;
  for (int i = 0; i < 5; ++i)
    probing.elsewhere(false);
  CHECK_FALSE(probing.proof.bypassed());
  probing.elsewhere();
  probing.elsewhere();
  probing.elsewhere(false);  // begins anew
  probing.elsewhere();
  CHECK_FALSE(probing.proof.bypassed());
}
