#include "serve/growing_body.h"

#include <gtest/gtest.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <cstdint>
#include <string>

namespace mnm {
namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;

TEST(GrowingBody, TakesRoomForWhatHasComeAlone) {
  for (const char* length : {"10", "30000000"}) {
    http::request_parser<GrowingBody> parser;
    parser.body_limit(std::uint64_t{100'000'000});
    parser.eager(true);
    boost::beast::error_code error;
    const std::string begin =
        std::string("POST / HTTP/1.1\r\nContent-Length: ") + length + "\r\n\r\nabc";
    parser.put(net::buffer(begin), error);
    EXPECT_FALSE(error) << error.message();
    EXPECT_EQ(parser.get().body(), "abc");
    EXPECT_LT(parser.get().body().capacity(), 1000u) << length;
    const std::string more = "defghij";
    parser.put(net::buffer(more), error);
    EXPECT_FALSE(error) << error.message();
    EXPECT_EQ(parser.get().body(), "abcdefghij");
    EXPECT_EQ(parser.is_done(), std::string(length) == "10");
  }
}

}  // namespace
}  // namespace mnm
