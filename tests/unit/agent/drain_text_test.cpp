#include "agent/cli/drain.h"
#include "agent/cli/dry_run.h"
#include "agent/cli/status.h"

#include "tests/support/catch.h"

using namespace lastlight;

TEST_CASE("a drain's timeline for people") {
  const auto document = parse_json(R"({"node":"n1","version":"0.1","ready":true,"up_seconds":12.34,
    "takeover":{"state":"held"},"interruption":{"source":"aws","last_success_seconds":0.5,
    "notice":{"kind":"spot-terminate","action":"terminate","source":"manual","left_seconds":30},
    "drain":{"active":true,"cordoned":true,"cordoned_seconds":0.1,"since_seconds":30,"window_seconds":60,"requests":9,
    "pods":[{"namespace":"shop","name":"pg-0","fate":"refused","by":null,"told_seconds":null,"gone_seconds":null,
             "grace_seconds":0,"delete_at_seconds":42,"error":"429 full"},
            {"namespace":"shop","name":"web-1","fate":"gone","by":"evicted","told_seconds":0.2,"gone_seconds":15,
             "grace_seconds":30,"delete_at_seconds":null,"error":""},
            {"namespace":"shop","name":"logs","fate":"stays","told_seconds":null}]}}})");
  REQUIRE(document);
  CHECK(
      cli::status_text(*document) ==
      "n1: lastlight 0.1, ready, up 12.3 s, takeover held\n"
      "notices: aws, answered 0.5 s ago\n"
      "notice: spot-terminate (terminate), said by manual: 30.0 s left\n"
      "drain: cordoned after 0.1 s; 1 of 2 pods told, 1 gone; 1 stay; 9 requests; 30.0 s of 60.0 s\n\n"
      "TOLD   GRACE  GONE    POD                                                     FATE\n"
      "0.2 s  30 s   15.0 s  shop/web-1  [===========         |                   ]  evicted\n"
      "-      -      -       shop/pg-0   [                    |       x           ]  refused by its budget, deleted at "
      "42.0 s: 429 full\n");
  const std::string nothing = cli::status_text(Json::object());  // of whatever an agent may say
  CHECK(nothing.find("notice: none") != std::string::npos);
}

TEST_CASE("a plan for people, and whether it lacks anything") {
  auto plan = parse_json(R"({"node":"n1","kind":"spot-terminate","action":"terminate","in_seconds":120,
    "treatment":"drain","cordoned":true,"drained_by":"","missing":[],"budgets":"read","pods":[
    {"namespace":"shop","name":"web-1","choice":"evict","tier":"rest","after_tier":"stateful","own_grace_seconds":600,
     "grace_seconds":117,"evict_at_seconds":19.5,"delete_at_seconds":20.5,
     "budget":{"name":"shop/web","refuses":true,"text":"needs 2 healthy pods, has 2"},
     "dry_run":{"granted":true,"text":"eviction granted"}},
    {"namespace":"shop","name":"logs","choice":"stays-daemonset"}]})");
  REQUIRE(plan);
  CHECK(cli::plan_text(*plan) ==
        "dry run, nothing is changed: spot-terminate of n1, terminate in 120 s; by the policy: drain\n"
        "the node is cordoned already\n\n"
        "POD         TIER  GRACE         EVICT AT                   DELETE AT  BUDGET" +
            std::string(41, ' ') +
            "DRY RUN\n"
            "shop/web-1  rest  117 of 600 s  after stateful, by 19.5 s  20.5 s     shop/web refuses: needs 2 healthy "
            "pods, "
            "has 2  "
            "eviction granted\n\n"
            "1 pods: stays-daemonset\n");
  CHECK(cli::flawless(*plan));
  (*plan)["pods"][0]["dry_run"]["granted"] = false;
  CHECK_FALSE(cli::flawless(*plan));
  (*plan)["pods"][0]["dry_run"]["granted"] = true;
  (*plan)["missing"] = Json::array({"delete pods: not permitted"});
  CHECK_FALSE(cli::flawless(*plan));
  CHECK(cli::plan_text(*plan).find("a drain would lack: delete pods") != std::string::npos);
  (*plan)["budgets"] = "not permitted";
  CHECK(cli::plan_text(*plan).find("components/simulate") != std::string::npos);
}
