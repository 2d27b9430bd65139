/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/job-state.h"

static void
test_transitions(void)
{
  static const struct {
    MfJobState from, to;
  } good[] = {
      {MF_JOB_QUEUED, MF_JOB_STARTING},  {MF_JOB_QUEUED, MF_JOB_STOPPING},
      {MF_JOB_STARTING, MF_JOB_READY},   {MF_JOB_STARTING, MF_JOB_STOPPING},
      {MF_JOB_STARTING, MF_JOB_QUEUED},  {MF_JOB_READY, MF_JOB_RUNNING},
      {MF_JOB_READY, MF_JOB_STOPPING},   {MF_JOB_RUNNING, MF_JOB_READY},
      {MF_JOB_RUNNING, MF_JOB_STOPPING}, {MF_JOB_STOPPING, MF_JOB_FINISHED},
  };
  for (int from = 0; from < MF_JOB_STATE_LAST_; from++)
    for (int to = 0; to < MF_JOB_STATE_LAST_; to++) {
      gboolean want = FALSE;
      for (guint i = 0; i < G_N_ELEMENTS(good); i++)
        want = want || ((int)good[i].from == from && (int)good[i].to == to);
      g_assert_cmpint(mf_job_state_allows((MfJobState)from, (MfJobState)to), ==, want);
    }
}

static void
test_every_state_can_end(void)
{
  for (int from = 0; from < MF_JOB_STOPPING; from++)
    g_assert_true(mf_job_state_allows((MfJobState)from, MF_JOB_STOPPING));
  for (int to = 0; to < MF_JOB_STATE_LAST_; to++)
    g_assert_false(mf_job_state_allows(MF_JOB_FINISHED, (MfJobState)to));
}

static void
test_names(void)
{
  for (int i = 0; i < MF_JOB_STATE_LAST_; i++) {
    MfJobState state;
    g_assert_true(mf_job_state_from_string(mf_job_state_to_string((MfJobState)i), &state));
    g_assert_cmpint(state, ==, i);
  }
  for (int i = 0; i < MF_RESULT_LAST_; i++) {
    MfResult result;
    g_assert_true(mf_result_from_string(mf_result_to_string((MfResult)i), &result));
    g_assert_cmpint(result, ==, i);
  }
  MfJobState state = MF_JOB_READY;
  g_assert_false(mf_job_state_from_string("nonsense", &state));
  g_assert_false(mf_job_state_from_string(NULL, &state));
  g_assert_cmpint(state, ==, MF_JOB_READY);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/job-state/transitions", test_transitions);
  g_test_add_func("/job-state/ends", test_every_state_can_end);
  g_test_add_func("/job-state/names", test_names);
  return g_test_run();
}
