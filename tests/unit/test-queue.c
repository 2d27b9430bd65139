/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/limiter.h"
#include "daemon/queue.h"

static guint
nobody(uid_t owner, gpointer data)
{
  return 0;
}

static guint
owner_one_holds_two(uid_t owner, gpointer data)
{
  return owner == 1 ? 2 : 0;
}

static char *
order(MfQueue *queue, MfQueueHeld held)
{
  g_autoptr(GPtrArray) entries = mf_queue_order(queue, held, NULL);
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0; i < entries->len; i++)
    g_string_append(text, g_ptr_array_index(entries, i));
  return g_string_free(g_steal_pointer(&text), FALSE);
}

static void
test_fair(void)
{
  g_autoptr(MfQueue) queue = mf_queue_new();
  mf_queue_push(queue, "a", 1, 1);
  mf_queue_push(queue, "b", 1, 2);
  mf_queue_push(queue, "c", 1, 3);
  mf_queue_push(queue, "x", 2, 4);
  mf_queue_push(queue, "y", 2, 5);
  g_autofree char *equal = order(queue, nobody);
  g_assert_cmpstr(equal, ==, "axbyc");
  g_autofree char *behind = order(queue, owner_one_holds_two);
  g_assert_cmpstr(behind, ==, "xyabc");
  g_assert_cmpuint(mf_queue_length(queue), ==, 5);
}

static void
test_remove(void)
{
  g_autoptr(MfQueue) queue = mf_queue_new();
  static char a[] = "a", b[] = "b";
  mf_queue_push(queue, a, 1, 1);
  mf_queue_push(queue, b, 1, 2);
  g_assert_true(mf_queue_remove(queue, a));
  g_assert_false(mf_queue_remove(queue, a));
  g_autofree char *left = order(queue, nobody);
  g_assert_cmpstr(left, ==, "b");
}

static void
test_back(void)
{
  g_autoptr(MfQueue) queue = mf_queue_new();
  mf_queue_push(queue, "b", 1, 20);
  mf_queue_push(queue, "c", 1, 20);
  mf_queue_push(queue, "d", 1, 30);
  mf_queue_push(queue, "a", 1, 10);
  mf_queue_push(queue, "x", 2, 25);
  g_autofree char *text = order(queue, nobody);
  g_assert_cmpstr(text, ==, "axbcd");
}

static void
enter(gpointer data)
{
  ++*(int *)data;
}

static void
spin(void)
{
  while (g_main_context_iteration(NULL, FALSE))
    ;
}

typedef struct {
  GString *order;
  const char *name;
  gboolean patient;
} Turn;

static void
note_turn(gpointer data)
{
  const Turn *turn = data;
  g_string_append(turn->order, turn->name);
}

/* Who can wait does, in the order of its like. */
static void
test_limiter_patient(void)
{
  g_autoptr(MfLimiter) limiter = mf_limiter_new(1);
  g_autoptr(GString) order = g_string_new(NULL);
  Turn all[] = {{order, "0", FALSE}, {order, "a", TRUE}, {order, "1", FALSE},
                {order, "b", TRUE},  {order, "2", FALSE}};
  for (gsize i = 0; i < G_N_ELEMENTS(all); i++) {
    mf_limiter_enter(limiter, all[i].patient, note_turn, &all[i]);
    spin();
  }
  for (gsize i = 0; i < G_N_ELEMENTS(all); i++) {
    mf_limiter_leave(limiter);
    spin();
  }
  g_assert_cmpstr(order->str, ==, "012ab");
}

static void
test_limiter(void)
{
  g_autoptr(MfLimiter) limiter = mf_limiter_new(2);
  int in = 0;
  guint ids[4];
  for (int i = 0; i < 4; i++)
    ids[i] = mf_limiter_enter(limiter, FALSE, enter, &in);
  spin();
  g_assert_cmpint(in, ==, 2);
  g_assert_false(mf_limiter_withdraw(limiter, ids[0]));
  g_assert_true(mf_limiter_withdraw(limiter, ids[2]));
  mf_limiter_leave(limiter);
  spin();
  g_assert_cmpint(in, ==, 3);
  mf_limiter_leave(limiter);
  mf_limiter_leave(limiter);
  spin();
  g_assert_cmpint(in, ==, 3);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/queue/fair", test_fair);
  g_test_add_func("/queue/remove", test_remove);
  g_test_add_func("/queue/back", test_back);
  g_test_add_func("/queue/limiter", test_limiter);
  g_test_add_func("/queue/limiter-patient", test_limiter_patient);
  return g_test_run();
}
