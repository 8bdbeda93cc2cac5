// The server over an engine without a model, as plain sockets see it. Python's clients and a real
// model are in tests/end_to_end/serve_test.cpp.
#include "serve/server.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <future>
#include <list>
#include <nlohmann/json.hpp>
#include <thread>
#include <tuple>
#include <utility>

#include "tests/serve/fake_sequences.h"
#include "tests/serve/steady_controller.h"
#include "tests/support/error_of.h"
#include "tests/support/models.h"

namespace mnm {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;
using test::contains;
using test::error_of;
using test::FakeSequences;

// A connection, with everything that came on it so far.
class Client {
 public:
  explicit Client(std::uint16_t port) {
    socket_.connect({boost::asio::ip::make_address("127.0.0.1"), port});
  }
  Client& say(const std::string& text) {
    boost::system::error_code ignored;  // who is closed hears it when reading
    boost::asio::write(socket_, boost::asio::buffer(text), ignored);
    return *this;
  }
  // All that comes until `end` is part of it; less if the server closes the connection.
  const std::string& until(const std::string& end) {
    while (heard_.find(end) == std::string::npos && hear()) continue;
    return heard_;
  }
  // All that comes until the server closes the connection.
  const std::string& rest() {
    while (hear()) continue;
    return heard_;
  }
  void forget() { heard_.clear(); }

 private:
  bool hear() {
    boost::system::error_code error;
    char bytes[4096];
    heard_.append(bytes, socket_.read_some(boost::asio::buffer(bytes), error));
    return !error;
  }

  boost::asio::io_context io_;
  tcp::socket socket_{io_};
  std::string heard_;
};

std::string post(const std::string& body, const std::string& path = "/v1/completions") {
  return fmt::format(
      "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
      "{}\r\n\r\n{}",
      path, body.size(), body);
}

std::string ask(const std::string& prompt, std::int64_t tokens, bool stream = false) {
  return post(nlohmann::json{
      {"model", "tiny"},
      {"prompt", prompt},
      {"max_tokens", tokens},
      {"temperature", 0},
      {"stream",
       stream}}.dump());
}

const std::string kHealth = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
constexpr std::int64_t kEndless = std::int64_t{1} << 40;

class Server : public ::testing::Test {
 protected:
  Server() : nested_(test::prefix_model(2, 8, {4, 8, 16}, 256)) {
    words_.tokenizer.emplace(byte_tokenizer());
    http_.port = 0;
    http_.body = 600s;
    http_.idle = 600s;
    service_settings_.limits = {
        .context = 2 * kEndless, .vocabulary = 256, .positions = 1024 * kEndless};
  }
  ~Server() override { stop(); }

  void start() {
    service_ = std::make_unique<CompletionService>(words_, models_, service_settings_, metrics_);
    routes_ = std::make_unique<Routes>(models_, words_, *service_, metrics_,
                                       RouteSettings{256, 2 * kEndless, ""}, jobs_);
    server_ = std::make_unique<HttpServer>(http_, *routes_, metrics_, LogSink());
    server_->listen();
    network_ = std::thread([this] { server_->run(); });
    worker_ = std::thread([this] {
      WidthController controller = test::steady_controller(models_);
      service_->work(
          fake_, controller, [] { return false; }, 0s);
    });
  }
  void stop() {
    if (!server_) return;
    let_go();  // or a test that fails would wait for ever
    service_->drain(std::chrono::steady_clock::now());
    server_->close();
    network_.join();
    worker_.join();
    server_.reset();
  }
  Client client() const { return Client(server_->port()); }

  // The engine's next step says computing_, and waits for let_go().
  void hold_step() {
    fake_.before_step = [this] {
      computing_.set_value();
      go_on_.get_future().wait();
    };
  }
  void let_go() {
    if (!std::exchange(let_go_, true)) go_on_.set_value();
  }
  // From the first long prompt on, none becomes tokens before it is given up. The first one says
  // reading_, and each that is given up counts in given_up_.
  void hold_texts() {
    jobs_ = [this](const CompletionRequest& request, const ServedModel& model,
                   const JobSettings& settings, const ProgressSink& progress) {
      const ProgressSink hold = [&](const Progress& far) {
        if (!std::exchange(held_, true)) reading_.set_value();
        while (progress(far)) std::this_thread::sleep_for(1ms);
        ++given_up_;
        return false;
      };
      return jobs_of(request, model, words_, settings, hold);
    };
  }
  // Nothing is computed, and nothing waits to be.
  void expect_idle() const {
    const std::string now = metrics_.text();
    EXPECT_TRUE(contains(now, "mixnmatch_running 0\n")) << now;
    EXPECT_TRUE(contains(now, "mixnmatch_waiting 0\n")) << now;
  }

  NestedModel nested_;
  Words words_;
  ModelList models_{nested_, "tiny", {{{4, 4}, {}, {}}, {{16, 16}, {}, {}}}};
  ServiceSettings service_settings_;
  HttpSettings http_;
  Metrics metrics_;
  FakeSequences fake_{256};
  JobSource jobs_;  // of the Routes
  std::promise<void> computing_, go_on_, reading_;
  bool let_go_ = false, held_ = false;
  std::atomic<int> given_up_ = 0;
  std::unique_ptr<CompletionService> service_;
  std::unique_ptr<Routes> routes_;
  std::unique_ptr<HttpServer> server_;
  std::thread network_, worker_;
};

TEST_F(Server, AnswersOneRequestAfterTheOtherOnAConnection) {
  start();
  Client one = client();
  EXPECT_TRUE(contains(one.say(ask("a", 3)).until("usage"), R"("text":"bcd")"));
  one.forget();
  EXPECT_TRUE(contains(one.say(ask("k", 2, true)).until("[DONE]"), R"("text":"l")"));
  one.forget();
  EXPECT_TRUE(contains(one.say(kHealth).until("\"ok\"}"), "200 OK"));
  one.forget();
  one.say(post(R"({"tokens": [97, 98], "draft": [99, 100, 50]})", "/v1/verify"));
  EXPECT_TRUE(contains(one.until("seconds"), R"("accepted":2,"token":101,"length":5)"));
}

TEST_F(Server, WhatIsNoRequestEndsItsConnection) {
  start();
  const std::pair<std::string, const char*> cases[] = {
      {"nonsense\r\n\r\n", "400"},
      {"GET /" + std::string(20000, 'x') + " HTTP/1.1\r\n\r\n", "431"},
      {"POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: "
       "99999999999\r\n\r\n",
       "413"},
      {"POST /v1/completions HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400"},
      {"GET /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n", "405"},
      {"GET /health HTTP/1.1\r\n\r\n", "400"},
  };
  for (const auto& [data, status] : cases) {
    EXPECT_TRUE(contains(client().say(data).rest(), std::string("HTTP/1.1 ") + status)) << data;
  }
  EXPECT_TRUE(contains(client().say(ask("a", 1)).until("usage"), "\"b\""));
}

std::string health_of(const std::string& host) {
  return "GET /health HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
}

TEST_F(Server, OnALoopbackAddressOnlyItsOwnHostsAreAnswered) {
  http_.allowed_hosts = {"models.example.com"};
  start();
  for (const char* host : {"localhost", "127.0.0.1:1", "[::1]:80", "models.example.com:8080", ""}) {
    EXPECT_TRUE(contains(client().say(health_of(host)).until("}"), "HTTP/1.1 200")) << host;
  }
  EXPECT_TRUE(contains(client().say(health_of("evil.example")).until("host_not_allowed"), "403"));
  // Also what costs something, and before its body comes.
  std::string asked = ask("a", 1);
  asked.replace(asked.find("localhost"), 9, "evil.example");
  EXPECT_TRUE(contains(client().say(asked).rest(), "HTTP/1.1 403"));
}

TEST_F(Server, ATargetMayNameTheHost) {
  start();
  const auto told = [&](const std::string& target) {
    return client().say("GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n").until("}");
  };
  EXPECT_TRUE(contains(told("http://localhost/health"), "HTTP/1.1 200"));
  EXPECT_TRUE(contains(told("HTTP://localhost:80"), "HTTP/1.1 404"));
  EXPECT_TRUE(contains(told("http://evil.example/health"), "HTTP/1.1 403"));
}

TEST_F(Server, ARequestNamesOneHost) {
  start();
  const std::string get = "GET /health HTTP/1.1\r\nHost: localhost\r\n", end = "\r\n";
  for (const char* host : {"Host: evil.example\r\n", "host: localhost\r\n", "HOST:\r\n"}) {
    const std::string told = client().say(get + host + end).until("several_hosts");
    EXPECT_TRUE(contains(told, "HTTP/1.1 400")) << host << told;
  }
  std::string asked = ask("a", 1);
  asked.insert(asked.find("Content-Type"), "Host: localhost\r\n");
  EXPECT_TRUE(contains(client().say(asked).rest(), "HTTP/1.1 400"));
}

// What a proxy before the server takes for a body is no second request.
TEST_F(Server, ABodyOfAnotherTransferEncodingIsNotReadAsARequest) {
  start();
  for (const char* encoding : {"xchunked", "identity", "chunked, identity", "gzip, chunked",
                               "chunked\r\nTransfer-Encoding: chunked"}) {
    const std::string told =
        client()
            .say(std::string("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                             "application/json\r\nTransfer-Encoding: ") +
                 encoding + "\r\n\r\n" + kHealth)
            .rest();
    EXPECT_TRUE(contains(told, "HTTP/1.1 400")) << encoding << told;
    EXPECT_FALSE(contains(told, "200 OK")) << encoding << told;
  }
}

// A request of `bytes` in its body, which asks for one token.
std::string padded(std::size_t bytes) {
  std::string body = nlohmann::json{{"model", "tiny"}, {"prompt", "a"}, {"max_tokens", 1}}.dump();
  body.resize(bytes, ' ');
  return post(body);
}

TEST_F(Server, AllBodiesTogetherHaveAnEnd) {
  http_.body_bytes = 1000;
  http_.all_bodies_bytes = 1500;
  start();
  const std::string head =
      "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Expect: 100-continue\r\n";
  // One that says how long it is, and one that does not; what is sent, and what ends it.
  const std::tuple<std::string, std::string, std::string> cases[] = {
      {"Content-Length: 901\r\n\r\n", std::string(900, ' '), " "},
      {"Transfer-Encoding: chunked\r\n\r\n", "384\r\n" + std::string(900, ' '), "\r\n0\r\n\r\n"}};
  for (const auto& [framing, body, end] : cases) {
    Client slow = client();
    EXPECT_TRUE(contains(slow.say(head + framing).until("\r\n\r\n"), "100 Continue"));
    // What has not come takes no room.
    EXPECT_TRUE(contains(client().say(padded(700)).until("usage"), "HTTP/1.1 200"));
    slow.say(body);
    std::string refused;
    while (!contains(refused, "HTTP/1.1 429")) refused = client().say(padded(700)).until("}}");
    EXPECT_TRUE(contains(refused, "bodies_full")) << refused;
    EXPECT_TRUE(contains(refused, "Retry-After")) << refused;
    EXPECT_FALSE(contains(metrics_.text(), "mixnmatch_refused_total 0\n"));
    EXPECT_TRUE(contains(client().say(padded(400)).until("usage"), "HTTP/1.1 200"));
    EXPECT_TRUE(contains(slow.say(end).until("}}"), "HTTP/1.1 400"));
    while (!contains(client().say(padded(700)).until("}"), "HTTP/1.1 200")) {
      std::this_thread::sleep_for(1ms);
    }
    client().say(kHealth).until("\"ok\"}");  // by then the last one has given back its share
  }
}

TEST_F(Server, OneConnectionTooManyEndsTheIdlest) {
  http_.connections = 2;
  start();
  Client first = client(), second = client();
  first.say(kHealth).until("\"ok\"}");
  second.say(kHealth).until("\"ok\"}");
  Client third = client();
  EXPECT_TRUE(contains(third.say(kHealth).until("\"ok\"}"), "200"));
  first.forget();
  EXPECT_EQ(first.rest(), "");
  second.forget();
  EXPECT_TRUE(contains(second.say(kHealth).until("\"ok\"}"), "200"));
}

TEST_F(Server, WhereNoneIsIdleTheNewOneIsRefused) {
  http_.connections = 1;
  hold_step();
  start();
  Client busy = client();
  busy.say(ask("a", 2));
  computing_.get_future().wait();
  EXPECT_EQ(client().say(kHealth).rest(), "");
  let_go();
  EXPECT_TRUE(contains(busy.until("usage"), "\"bc\""));
}

// While the engine computes, no lock that these need is held. Whether they wait for one that is
// held between two steps is not tested.
TEST_F(Server, AStepHoldsUpNeitherHealthNorMetrics) {
  hold_step();
  start();
  Client busy = client();
  busy.say(ask("a", 2));
  computing_.get_future().wait();
  EXPECT_TRUE(contains(client().say(kHealth).until("\"ok\"}"), "200 OK"));
  EXPECT_TRUE(contains(client()
                           .say("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                           .until("mixnmatch_refused_total 0"),
                       "mixnmatch_connections"));
  let_go();
  EXPECT_TRUE(contains(busy.until("usage"), "\"bc\""));
}

// However many connections are open, no answer waits for a step. How long one takes is up to the
// machine, too: bench/serve_health.py measures it.
TEST_F(Server, AStepHoldsUpNoneOfACrowd) {
  hold_step();
  start();
  Client busy = client();
  busy.say(ask("a", 2));
  computing_.get_future().wait();
  std::list<Client> crowd;
  while (crowd.size() < 64) crowd.emplace_back(server_->port());
  for (int round = 0; round < 2; ++round) {
    for (Client& each : crowd) {
      EXPECT_TRUE(contains(each.say(kHealth).until("\"ok\"}"), "200 OK"));
      each.forget();
    }
  }
  let_go();
  EXPECT_TRUE(contains(busy.until("usage"), "\"bc\""));
}

// The thread that computes hands over what a step gave, and nothing that it does later is needed.
TEST_F(Server, WhatAStepGaveIsToldWhileTheNextIsHeld) {
  fake_.before_step = [this] { hold_step(); };
  start();
  Client stream = client();
  EXPECT_TRUE(contains(stream.say(ask("a", 2, true)).until(R"("text":"b")"), "200 OK"));
  computing_.get_future().wait();
  let_go();
  EXPECT_TRUE(contains(stream.until("[DONE]"), R"("text":"c")"));
}

// Its body is waited for as long as the settings say, but not when the server ends.
TEST_F(Server, HalfABodyDoesNotHoldTheEndUp) {
  start();
  Client half = client();
  half.say(
      "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
      "application/json\r\nContent-Length: 99\r\n"
      "Expect: 100-continue\r\n\r\n{");
  EXPECT_TRUE(contains(half.until("\r\n\r\n"), "100"));
  stop();
  half.forget();
  EXPECT_EQ(half.rest(), "");
}

TEST_F(Server, WhoGoesAwayIsNotComputedFor) {
  start();
  for (const bool stream : {true, false}) {
    Client client = this->client();
    client.say(ask("a", kEndless, stream));
    if (stream) client.until("data: ");
  }
  while (!contains(metrics_.text(), "mixnmatch_cancelled_total 2")) {
    std::this_thread::sleep_for(1ms);
  }
}

// A text of so many bytes that its encoding says how far it is.
const std::string kLongPrompt(1 << 16, 'a');

TEST_F(Server, APromptOfWhoGoesAwayIsGivenUpWhileItBecomesTokens) {
  service_settings_.limits.running = 1;
  service_settings_.waiting = 0;  // what is left of it would have the next one refused
  hold_texts();
  start();
  {
    Client first = client(), behind = client();
    first.say(ask(kLongPrompt, kEndless));
    reading_.get_future().wait();
    behind.say(ask(kLongPrompt, kEndless));
    EXPECT_TRUE(contains(client().say(kHealth).until("\"ok\"}"), "200 OK"));
    EXPECT_EQ(given_up_, 0);
  }
  while (!contains(metrics_.text(), "mixnmatch_cancelled_total 2")) {
    std::this_thread::sleep_for(1ms);
  }
  EXPECT_GE(given_up_, 1);
  expect_idle();
  // The thread of the texts is free for the next one.
  EXPECT_TRUE(contains(client().say(ask("a", 1)).until("usage"), R"("text":"b")"));
  stop();
  EXPECT_EQ(fake_.fed, 1) << "of the given-up prompts nothing is computed";
}

TEST_F(Server, AShutdownGivesUpAPromptWhileItBecomesTokens) {
  hold_texts();
  start();
  Client first = client(), behind = client();
  first.say(ask(kLongPrompt, kEndless));
  reading_.get_future().wait();
  behind.say(ask(kLongPrompt, kEndless, /*stream=*/true));
  service_->drain(std::chrono::steady_clock::now());
  for (Client* each : {&first, &behind}) {
    const std::string& answer = each->until("shutting_down");
    EXPECT_TRUE(contains(answer, "HTTP/1.1 503")) << answer;
    EXPECT_TRUE(contains(answer, "Retry-After: 1")) << answer;
  }
  EXPECT_EQ(given_up_, 1) << "the second one was not begun";
  expect_idle();
  stop();
  EXPECT_EQ(fake_.fed, 0);
}

TEST_F(Server, AnAnswerMayTakeSoLong) {
  http_.answer = 0s;
  start();
  EXPECT_TRUE(contains(client().say(ask("a", kEndless)).until("timeout"), "HTTP/1.1 504"));
  while (!contains(metrics_.text(), "mixnmatch_cancelled_total 1")) {
    std::this_thread::sleep_for(1ms);
  }
}

TEST_F(Server, WhatAShutdownCutsIsTold) {
  fake_.step_takes = 1ms;  // so that the stream does not outrun its reader
  start();
  Client stream = client(), whole = client();
  whole.say(ask("k", kEndless));
  while (!contains(metrics_.text(), "mixnmatch_running 1\n")) std::this_thread::sleep_for(1ms);
  stream.say(ask("a", kEndless, true)).until("data: ");
  service_->drain(std::chrono::steady_clock::now());
  const std::string answer = whole.until("shutting_down");
  EXPECT_TRUE(contains(answer, "HTTP/1.1 503"));
  EXPECT_TRUE(contains(answer, "Retry-After: 1"));
  EXPECT_TRUE(contains(answer, "not finished in time"));
  EXPECT_TRUE(contains(stream.until("0\r\n\r\n"), R"("code":"shutting_down")"));
}

TEST_F(Server, AFaultIsTold) {
  fake_.nan_after = 'd';
  start();
  const std::string answer = client().say(ask("a", 50)).until("\"failed\"");
  EXPECT_TRUE(contains(answer, "HTTP/1.1 500"));
  EXPECT_TRUE(contains(answer, "no numbers"));
}

// Whatever the others do, each hears its own.
TEST_F(Server, StormsMixNothing) {
  start();
  std::vector<std::thread> clients;
  std::atomic<int> wrong = 0;
  for (int c = 0; c < 6; ++c) {
    clients.emplace_back([&, c] {
      for (int i = 0; i < 40; ++i) {
        const char first = static_cast<char>('a' + (7 * c + i) % 20);
        const std::string expected = {static_cast<char>(first + 1), static_cast<char>(first + 2)};
        Client client = this->client();
        switch (i % 4) {
          case 0:
            client.say(ask(std::string(1, first), 2));
            wrong += contains(client.until("usage"), "\"text\":\"" + expected + "\"") ? 0 : 1;
            break;
          case 1:  // goes away in the middle
            client.say(ask(std::string(1, first), kEndless, true)).until("data: ");
            break;
          case 2:  // or at once
            client.say(ask(std::string(1, first), kEndless, i % 8 == 2));
            break;
          default:  // or before it has asked
            client.say(ask(std::string(1, first), 2).substr(0, 40));
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(Server, AnAddressInUseIsToldBeforeAnythingIsAnswered) {
  start();
  HttpSettings same = http_;
  same.port = server_->port();
  EXPECT_TRUE(contains(error_of([&] { HttpServer(same, *routes_, metrics_, LogSink()); }),
                       fmt::format("port {}", same.port)));
  same.address = "localhost";
  EXPECT_TRUE(
      contains(test::usage_error_of([&] { HttpServer(same, *routes_, metrics_, LogSink()); }),
               "no IP address"));
  same.address = "127.0.0.1";
  same.all_bodies_bytes = same.body_bytes - 1;
  EXPECT_TRUE(
      contains(test::usage_error_of([&] { HttpServer(same, *routes_, metrics_, LogSink()); }),
               "--body-memory at least"));
}

}  // namespace
}  // namespace mnm
