// A server whose name is not found, as in an outage of the DNS: an answer like others.
#include <doctest/doctest.h>

#include <string>

#include "s3_minimal/transport.h"
#include "tests/store_contract.h"

namespace wp::s3 {

TEST_CASE("a name that is not found again and again is an answer each time") {
  Transport transport(4, "");
  for (int round = 0; round < 5; ++round) {
    store_test::Answers<HttpAnswer> answers;
    HttpRequest request;
    request.method = "GET";
    // A part of a name has at most 63 bytes, so nobody needs to be asked.
    request.url = "http://" + std::string(70, 'n') + ".example/";
    transport.send(std::move(request), answers.done());
    const HttpAnswer answer = answers.wait(1).front();
    CHECK(answer.error == TransportError::kResolve);
    CHECK(!answer.sent);
    CHECK(answer.status == 0);
  }
}

}  // namespace wp::s3
