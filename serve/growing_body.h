// The body of a request, for Beast's parser.
#pragma once

#include <boost/beast/http/string_body.hpp>
#include <boost/optional.hpp>
#include <cstdint>

namespace mnm {

// A string that grows with what comes. Beast's string_body takes room for the whole Content-Length
// when the first byte comes, so one byte from a client would hold as much memory as a body may
// have.
struct GrowingBody : boost::beast::http::string_body {
  struct reader : boost::beast::http::string_body::reader {
    using boost::beast::http::string_body::reader::reader;
    void init(const boost::optional<std::uint64_t>&, boost::beast::error_code& error) {
      error = {};
    }
  };
};

}  // namespace mnm
