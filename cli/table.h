// What is printed for people: a name and a value a line, and tables with aligned columns.
#ifndef WP_CLI_TABLE_H_
#define WP_CLI_TABLE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace wp::cli {

// Lines of a name and a value, aligned.
class Facts {
 public:
  void add(std::string name, std::string value) {
    rows_.emplace_back(std::move(name), std::move(value));
  }
  void print(std::string& out) const;

 private:
  std::vector<std::pair<std::string, std::string>> rows_;
};

// The first row is the heading. Columns are as wide as their widest cell; of the first, which holds
// names, those of unusual length do not push the others away. All but the first are flush right.
void print_table(std::string& out, const std::vector<std::vector<std::string>>& rows);

// "512", "1234 (1.2 KiB)"
std::string bytes_fact(uint64_t bytes);

}  // namespace wp::cli

#endif  // WP_CLI_TABLE_H_
