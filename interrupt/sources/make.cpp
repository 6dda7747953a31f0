#include "interrupt/sources/make.h"

#include <utility>

#include "interrupt/sources/auto.h"
#include "interrupt/sources/aws.h"
#include "interrupt/sources/azure.h"
#include "interrupt/sources/gcp.h"

namespace lastlight::interrupt {

std::unique_ptr<Source> make_source(const InterruptionConfig& config, Uniform uniform) {
  switch (config.source) {
    case InterruptionConfig::Source::Aws:
      return std::make_unique<AwsSource>(config, std::move(uniform));
    case InterruptionConfig::Source::Gcp:
      return std::make_unique<GcpSource>(config, std::move(uniform));
    case InterruptionConfig::Source::Azure:
      return std::make_unique<AzureSource>(config, std::move(uniform));
    case InterruptionConfig::Source::Auto:
    case InterruptionConfig::Source::None:
      break;
  }
  return std::make_unique<AutoSource>(config, std::move(uniform));
}

}  // namespace lastlight::interrupt
