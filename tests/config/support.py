"""Profiles from text, without a file; and one profile that says every setting."""

from collections.abc import Mapping
from pathlib import Path

from ostler.config.load import load_text
from ostler.config.settings import LoadedProfile
from ostler.config.sources import Source
from ostler.domain.errors import Problem, ProfileError

HOME = "/home-of-a-test"
SOURCE = Source(path=Path("/profiles/ostler.yaml"), label="ostler.yaml", name="ostler")


def loaded(text: str, env: Mapping[str, str] | None = None) -> LoadedProfile:
    """The profile of a valid text."""
    return load_text(text, SOURCE, {"HOME": HOME, **(env or {})}, Path("/profiles"))


def problems(text: str, env: Mapping[str, str] | None = None) -> tuple[Problem, ...]:
    """The mistakes of a text; empty when it is valid."""
    try:
        loaded(text, env)
    except ProfileError as error:
        return error.problems
    return ()


ONE_TIER = """\
routing:
  tiers:
    only: {provider: ollama, model: "llama3:8b"}
"""
"""The smallest ladder."""

EVERYTHING = """\
name: everything
routing:
  enabled: true
  tiers:
    direct:
      aliases: [trivial]
    small:
      rank: 1
      aliases: [quick]
      provider: ollama
      model: "small:7b"
      base_url: http://localhost:11434
      cost: local
      choose: first
      context: small
      max_output_tokens: 1k
      max_iterations: 4
      enabled: true
    large:
      rank: 2
      aliases: [standard]
      providers: [acme, ollama]
      models: [best, "small:7b"]
      context: 20k
  complexity:
    trivial: direct
    standard: large
    complex: large
  unclassified: standard
  type_minimums:
    coding: large
  task_overrides:
    docs: quick
  fallback:
    wait: 7s
    direction: down
    by_tier:
      small: up
  max_availability_steps: 0
  max_quality_steps: 1
  repeated_error_threshold: 4
  minute_price_usd: 0.2
  default_output_tokens: 300
  report_stale: 80s
  health_stale: 3m
  max_recorded_candidates: 10
  weights:
    unknown_cpu_percent: 40
    capacity_unit_gib: 8
    capacity_max: 2
    vram_floor: 0.7
    vram_span: 0.3
    vram_unknown: 0.8
    warm: 1.2
    affinity: 1.1
    affinity_similarity: 0.2
providers:
  acme:
    kind: openai
    base_url: https://llm.example.com/v1
    api_key_env: ACME_KEY
    local: false
    slots: 3
endpoints:
  box:
    provider: acme
    kind: anthropic
    url: http://box:8080
    host: rack
    local: true
    slots: 5
    slots_per_model:
      best: 2
    models: [best]
    api_key_env: BOX_KEY
    enabled: true
    reached_by: worker
models:
  best-model:
    provider: acme
    aliases: [best]
    context: 128k
    memory: 20GB
    capabilities: [tools, vision]
    input_usd_per_mtok: 1.5
    output_usd_per_mtok: 6
    cache_read_usd_per_mtok: 0.15
    cache_write_usd_per_mtok: 1.75
    reasoning_usd_per_mtok: 5
    request_usd: 0.01
    batch_percent: 50
    long_above_tokens: 64k
    long_input_usd_per_mtok: 3
    long_output_usd_per_mtok: 9
    speeds:
      prefill_tokens_per_s: 900
      decode_tokens_per_s: 60
      load_s: 12.5
      unload_s: 4
      first_token: 250ms
hosts:
  rack:
    memory: 64GB
    reserve: 4GiB
    max_resident_models: 2
    pinned: [best]
    preload: ["small:7b"]
scheduler:
  task_ttl: 20m
  max_attempts: 5
  retry_base: 1s
  retry_cap: 30s
  heartbeat: 4s
  session_dead: 12s
  assign_timeout: 50s
  stuck: 11m
  owner: ada
  answer_within: 2h
  unanswered: fail
  tier_alert: 2m
  tier_alert_cooldown: 6m
  probe_interval: 20s
  probe_timeout: 3s
  failures_to_down: 3
  successes_to_up: 2
  breaker_failures: 4
  breaker_cooldown: 40s
  ramp_start: 2
residency:
  patience: 4m
  turn_per_change: 4.0
  tool_hold: 20s
  min_residence: 2s
  failed_wait: 45s
  prefetch: false
worker:
  name: bench
  allow: [command, chat, agent]
  slots:
    command: 3
    chat: 4
    agent: 2
  capabilities: [gpu]
  repos: [ostler]
  agents: [opencode, claude]
  agent_limits:
    first_event: 3m
    silent: 5m
    linger: 10s
    wall: 2h
    output: 1GB
    repeats: 4
    steps: 50
  keep_agent_runs: true
  adopt_within: 90s
  commands: [git, make]
  cwd_roots: [~/src, work]
  env: [PATH]
  task_env: [CI]
agents:
  folders: [~/agents]
  max_cost: 1.5
  judge: quick
hub:
  host: 0.0.0.0
  port: 8000
  data_dir: ~/ostler
  database: hub.db
  pool: lab
  name: den
  advertise: http://den:8000
  direct_database: postgresql://db/ostler
  lease: 10s
  requests_per_second: 50
  max_open_requests: 20
  max_open_tasks: 5000
  sign_in_failures_per_minute: 5
  keep_tasks: 45d
budget:
  monthly_hard_cap: 50
  monthly_soft_cap: 45.5
  per_session_cap: 3
  per_tick_cap: 0.25
  time_zone: Europe/Berlin
  unknown_price: refuse
  conservative_input_usd_per_mtok: 20
  conservative_output_usd_per_mtok: 80
  equivalent_model: best-model
  output_quantile_percent: 95
  pools: apart
  limits:
    sprint:
      scope: provider
      only: acme
      window: period
      time_zone: America/New_York
      start: "2026-02-01"
      end: "2026-03-01"
      unit: tokens
      soft: 1000
      hard: 2000
      critical: 3000
      degrade_to: small
    lately:
      window: rolling
      hours: 5
      hard: 2.5
  providers:
    acme:
      billing: subscription
      daily_budget: 10
      degrade_percent: 70
      exhaust_percent: 90
      priority: 1
      pace: none
      reserve_percent: 10
      warn_percent: 80
      allowances:
        february:
          window: period
          time_zone: America/New_York
          start: "2026-02-01"
          end: "2026-03-01"
          unit: usd
          amount: 200
          model: best-model
        lately:
          window: rolling
          hours: 5
          amount: 100
context:
  window_size: 20
  compaction_interval: 5
  budget:
    small: 2k
    moderate: 8k
    large: 32k
learning:
  value_usd: 0.5
  harm_usd: 0.1
  explore: 0.05
  explore_usd_day: 2.0
  seed: 3
  read_types: false
  history: posterior
  rate: 0.8
  confidence: 0.95
  samples_min: 5
gateway:
  enabled: true
  require_key: auto
  deadline: 10m
  queue: 1m
  first_token: 2m
  stall: 30s
  whole: 3m
  attempts: 2
  max_waiting: 50
  max_body: 8MB
  body: 20s
  store_prompts: false
  fallback_wait: 1s
  context_rule: error
  keep_calls: 7d
  drain: 10s
alerts:
  enabled: true
  every: 1m
  start_after: 10s
  log: false
  desktop: true
  webhooks:
    ops:
      url: https://example.org/hook
      secret_env: HOOK_SECRET
      least: critical
  rules:
    errors:
      enabled: true
      above: 20
      for: 1m
      clear: 30s
      cooldown: 2m
      severity: critical
telemetry:
  log_format: json
  log_events: true
  metrics: false
  traces_url: http://localhost:4318
  traces_service: stable
  keep_events: 7d
agi_loop:
  interval_hours: 1
  interval_minutes: 15
  max_loops: 7
  ticks_per_loop: 9
  max_steps_per_tick: 2
  stimulus: look around
  auto_pause_on_budget: false
  auto_pause_on_error_streak: 3
  cron: "0 9 * * mon-fri"
  time_zone: Europe/Berlin
  identical_ticks: 3
  catch_up: true
  wait_first: true
"""
"""Every setting, one a line, each with a value that is not its default."""
