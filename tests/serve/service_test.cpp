#include "serve/service.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "serve/api_error.h"
#include "tests/serve/fake_sequences.h"
#include "tests/serve/steady_controller.h"
#include "tests/support/models.h"

namespace mnm {
namespace {

using namespace std::chrono_literals;
using test::FakeSequences;

// What a client heard of one request.
struct Heard {
  std::mutex mutex;
  std::map<std::int64_t, std::string> text, failure;
  std::map<std::int64_t, int> status;  // of the failures
  std::map<std::int64_t, std::vector<std::string>> widths;
  std::int64_t tokens = 0, ended = 0;
  std::promise<void> all;
};

class Service : public ::testing::Test {
 protected:
  Service() : nested_(test::prefix_model(2, 8, {4, 8, 16}, 256)) {
    words_.tokenizer.emplace(byte_tokenizer());
    settings_.limits = {.context = 1000, .vocabulary = 256, .running = 4, .positions = 10000};
    settings_.waiting = 4;
  }
  ~Service() override { stop(1s); }

  void make() {
    service_ = std::make_unique<CompletionService>(words_, models_, settings_, metrics_);
  }
  void start() {
    if (!service_) make();
    worker_ = std::thread([this] {
      WidthController controller = test::steady_controller(models_);
      service_->work(
          fake_, controller, [this] { return interrupted_.load() || --asks_left_ < 0; }, patience_);
    });
  }
  void stop(std::chrono::seconds patience) {
    if (!worker_.joinable()) return;
    service_->drain(std::chrono::steady_clock::now() + patience);
    worker_.join();
  }

  static Job job(const std::string& prompt, std::int64_t max_tokens) {
    Job out;
    for (const char c : prompt) out.prompt.push_back(static_cast<unsigned char>(c));
    out.max_tokens = max_tokens;
    out.sampling.temperature = 0;
    return out;
  }

  std::shared_ptr<Heard> submit(Submission submission, RequestId* id = nullptr) {
    const auto heard = std::make_shared<Heard>();
    const auto jobs = static_cast<std::int64_t>(submission.jobs.size());
    const RequestId given =
        service_->submit(std::move(submission), [heard, jobs](const std::vector<Update>& updates) {
          const std::lock_guard lock(heard->mutex);
          for (const Update& update : updates) {
            heard->text[update.index] += update.output.text;
            heard->widths[update.index].push_back(update.widths);
            heard->tokens += update.completion_tokens;
            if (update.failure) {
              heard->failure[update.index] = update.failure->what();
              heard->status[update.index] = update.failure->status;
            }
            if (update.ended() && ++heard->ended == jobs) heard->all.set_value();
          }
        });
    if (id != nullptr) *id = given;
    return heard;
  }
  static bool ends(Heard& heard) {
    return heard.all.get_future().wait_for(600s) == std::future_status::ready;
  }

  NestedModel nested_;
  Words words_;
  ModelList models_{nested_, "tiny", {{{4, 4}, {}, {}}, {{16, 16}, {}, {}}}};
  ServiceSettings settings_;
  Metrics metrics_;
  FakeSequences fake_{256};
  std::atomic<bool> interrupted_ = false;
  std::int64_t asks_left_ = std::int64_t{1} << 60;  // before it is interrupted
  std::chrono::seconds patience_{1};
  std::unique_ptr<CompletionService> service_;
  std::thread worker_;
};

TEST_F(Service, AnswersEachWithItsOwn) {
  start();
  const auto one = submit({{job("a", 3), job("k", 2)}, {}, false, true});
  const auto two = submit({{job("A", 4)}, {}, true, true});
  ASSERT_TRUE(ends(*one) && ends(*two));
  EXPECT_EQ(one->text[0], "bcd");
  EXPECT_EQ(one->text[1], "lm");
  EXPECT_EQ(two->text[0], "ABCDE");  // with its prompt
  EXPECT_EQ(one->tokens, 5);
  EXPECT_EQ(two->widths[0].front(), "16x2");  // elastic without a target: the widest
}

TEST_F(Service, StopStringsEndAJob) {
  start();
  const auto heard = submit({{job("a", 500)}, {"fg"}, false, true});
  ASSERT_TRUE(ends(*heard));
  EXPECT_EQ(heard->text[0], "bcde");
  EXPECT_LT(fake_.fed, 10);
}

TEST_F(Service, AFullQueueRefuses) {
  make();  // nothing is computed yet
  std::vector<Job> nine(9, job("a", 900));
  EXPECT_THROW(submit({nine, {}, false, true}), ApiError);  // 4 may run and 4 wait
  nine.pop_back();
  RequestId id = 0;
  submit({nine, {}, false, true}, &id);
  try {
    submit({{job("a", 1)}, {}, false, true});
    ADD_FAILURE() << "it was taken";
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status, 429);
  }
  service_->cancel(id);
  start();
  while (true) {  // room comes back
    try {
      EXPECT_TRUE(ends(*submit({{job("a", 1)}, {}, false, true})));
      return;
    } catch (const ApiError&) {
      std::this_thread::sleep_for(10ms);
    }
  }
}

TEST_F(Service, WhatIsUnderWayIsFinished) {
  start();
  const auto heard = submit({{job("a", 200)}, {}, false, true});
  interrupted_ = true;
  ASSERT_TRUE(ends(*heard));
  EXPECT_EQ(heard->tokens, 200);
  worker_.join();
  EXPECT_THROW(submit({{job("a", 1)}, {}, false, true}), ApiError);
}

// After ten steps there is no patience left: jobs that run are told, and those that wait.
TEST_F(Service, PatienceEnds) {
  make();
  asks_left_ = 10;
  patience_ = 0s;
  const auto heard = submit({std::vector<Job>(8, job("a", 900)), {}, false, true});
  start();
  ASSERT_TRUE(ends(*heard));
  worker_.join();
  EXPECT_EQ(heard->failure.size(), 8u);
  for (const auto& [index, status] : heard->status) EXPECT_EQ(status, 503) << index;
  EXPECT_EQ(heard->text[0].substr(0, 3), "bcd");
  EXPECT_EQ(heard->text.count(4) > 0 ? heard->text[4] : "", "");
  EXPECT_EQ(fake_.open_sequences(), 0u);
}

// A lost device ends all that was taken: what is computed, and what came meanwhile.
TEST_F(Service, ALostDeviceIsToldToAll) {
  make();
  fake_.loses_device = true;
  std::shared_ptr<Heard> late;
  fake_.before_step = [&] { late = submit({{job("k", 2)}, {}, false, true}); };
  const auto early = submit({{job("a", 2)}, {}, false, true});
  WidthController controller = test::steady_controller(models_);
  EXPECT_THROW(service_->work(
                   fake_, controller, [] { return false; }, 1s),
               DeviceLost);
  ASSERT_TRUE(ends(*early) && ends(*late));
  EXPECT_EQ(early->failure[0], "the device is gone");
  EXPECT_EQ(late->failure[0], "the device is gone");
  EXPECT_EQ(early->status[0], 500);
}

TEST_F(Service, AFailureIsToldToItsOwnAlone) {
  fake_.nan_after = 'd';
  start();
  const auto bad = submit({{job("a", 50)}, {}, false, true});
  const auto good = submit({{job("h", 5)}, {}, false, true});
  ASSERT_TRUE(ends(*bad) && ends(*good));
  EXPECT_NE(bad->failure[0].find("no numbers"), std::string::npos);
  EXPECT_EQ(bad->status[0], 500);
  EXPECT_EQ(good->text[0], "ijklm");
}

TEST_F(Service, WhatTheLimitsDoNotAllowIsTheFaultOfWhoAsks) {
  start();
  const auto heard = submit({{job(std::string(1001, 'a'), 1), job("k", 2)}, {}, false, true});
  ASSERT_TRUE(ends(*heard));
  EXPECT_NE(heard->failure[0].find("1001 tokens"), std::string::npos);
  EXPECT_EQ(heard->status[0], 400);
  EXPECT_EQ(heard->text[1], "lm");
}

TEST_F(Service, ScoredPromptsAreEchoed) {
  start();
  Job one = job("abz", 0);
  one.alternatives = 0;
  one.score_prompt = true;
  const auto heard = submit({{one}, {}, true, true});
  ASSERT_TRUE(ends(*heard));
  EXPECT_EQ(heard->text[0], "abz");
}

// Many threads that submit and cancel at once. Every answer is that of the request alone.
TEST_F(Service, StormsMixNothing) {
  settings_.waiting = 100000;
  start();
  std::vector<std::thread> clients;
  std::atomic<int> wrong = 0, answered = 0;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&, c] {
      for (int i = 0; i < 60; ++i) {
        const char first = static_cast<char>('a' + (c * 60 + i) % 20);
        RequestId id = 0;
        const auto heard = submit({{job(std::string(1, first), 5)}, {}, false, true}, &id);
        if (i % 3 == 0) {
          service_->cancel(id);
          continue;
        }
        std::string expected;
        for (int k = 1; k <= 5; ++k) expected += static_cast<char>(first + k);
        if (!ends(*heard) || heard->text[0] != expected) ++wrong;
        ++answered;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(answered, 8 * 40);
}

}  // namespace
}  // namespace mnm
