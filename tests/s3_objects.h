// The objects of a root in a real bucket, for tests that look at them and damage them behind wp's
// back. Where the bucket is, the environment says, as tests/servers/*.sh print it.
#ifndef WP_TESTS_S3_OBJECTS_H_
#define WP_TESTS_S3_OBJECTS_H_

#include <string>
#include <vector>

#include "s3_minimal/client.h"

namespace wp::store_test {

// Whether the environment names a bucket.
bool s3_is_there();

class S3Objects {
 public:
  explicit S3Objects(std::string prefix);  // without its '/'
  ~S3Objects();                            // removes them all

  std::string url() const;          // "s3://bucket/prefix"
  std::vector<std::string> keys();  // below the prefix, sorted
  std::vector<std::byte> bytes(const std::string& key);
  void put(const std::string& key, const std::vector<std::byte>& bytes);  // overwrites
  void erase(const std::string& key);

 private:
  const std::string prefix_;
  Meter meter_;
  s3::S3Client client_;
};

}  // namespace wp::store_test

#endif  // WP_TESTS_S3_OBJECTS_H_
