/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/verify.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>

struct task {
    struct verify_job job;
    sem_t begun, go_on, done;
    bool signals_blocked;
    int nice;
};

static void run_task(struct verify_job *job)
{
    struct task *task = list_entry(job, struct task, job);
    sigset_t mask;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &mask);
    task->signals_blocked = sigismember(&mask, SIGTERM) == 1;
    task->nice = getpriority(PRIO_PROCESS, 0); /* 0: this thread */
    sem_post(&task->begun);
    sem_wait(&task->go_on);
    sem_post(&task->done);
}

static void init_task(struct task *task)
{
    task->job = (struct verify_job){.on_run = run_task};
    sem_init(&task->begun, 0, 0);
    sem_init(&task->go_on, 0, 0);
    sem_init(&task->done, 0, 0);
}

Test(verify, runs_what_is_submitted_on_a_thread_without_signals_that_lets_others_go_first)
{
    struct verify *verify = NULL;
    struct task task;
    init_task(&task);
    cr_assert_eq(verify_create(2, 4, &verify), STATUS_OK);
    cr_assert_eq(verify_submit(verify, &task.job), STATUS_OK);
    sem_post(&task.go_on);
    sem_wait(&task.done);
    cr_expect(task.signals_blocked);
    cr_expect_gt(task.nice, getpriority(PRIO_PROCESS, 0)); /* the workers come first */
    verify_destroy(&verify);
    cr_expect_null(verify);
    verify_destroy(&verify);
}

Test(verify, refuses_what_the_queue_cannot_take_but_never_what_was_admitted)
{
    struct verify *verify = NULL;
    struct task tasks[4];
    cr_assert_eq(verify_create(1, 1, &verify), STATUS_OK);
    for (size_t i = 0; i < 4; i++) {
        init_task(&tasks[i]);
    }
    cr_assert_eq(verify_submit(verify, &tasks[0].job), STATUS_OK);
    sem_wait(&tasks[0].begun);
    cr_expect_eq(verify_waiting(verify), 0);
    cr_expect_eq(verify_submit(verify, &tasks[1].job), STATUS_OK);
    cr_expect_eq(verify_waiting(verify), 1);
    cr_expect_eq(verify_submit(verify, &tasks[2].job), STATUS_LIMIT);
    cr_expect_eq(verify_refused(verify), 1);
    verify_resume(verify, &tasks[3].job);
    cr_expect_eq(verify_waiting(verify), 2);
    for (size_t i = 0; i < 4; i++) {
        sem_post(&tasks[i].go_on);
    }
    verify_destroy(&verify); /* runs what is queued */
    cr_expect_eq(sem_trywait(&tasks[1].done), 0);
    cr_expect_neq(sem_trywait(&tasks[2].done), 0);
    cr_expect_eq(sem_trywait(&tasks[3].done), 0);
}

Test(verify, gives_a_job_back_that_waits_and_no_other)
{
    struct verify *verify = NULL;
    struct task tasks[4];
    cr_assert_eq(verify_create(1, 2, &verify), STATUS_OK);
    for (size_t i = 0; i < 4; i++) {
        init_task(&tasks[i]);
    }
    cr_expect_not(verify_withdraw(verify, &tasks[0].job)); /* never given */
    cr_assert_eq(verify_submit(verify, &tasks[0].job), STATUS_OK);
    sem_wait(&tasks[0].begun);
    cr_expect_not(verify_withdraw(verify, &tasks[0].job)); /* it runs */
    cr_assert_eq(verify_submit(verify, &tasks[1].job), STATUS_OK);
    cr_assert_eq(verify_submit(verify, &tasks[2].job), STATUS_OK);
    cr_expect_eq(verify_submit(verify, &tasks[3].job), STATUS_LIMIT);
    cr_expect(verify_withdraw(verify, &tasks[1].job));
    cr_expect_not(verify_withdraw(verify, &tasks[1].job));
    cr_expect_eq(verify_waiting(verify), 1);
    cr_expect_eq(verify_submit(verify, &tasks[3].job), STATUS_OK); /* its place is free */
    for (size_t i = 0; i < 4; i++) {
        sem_post(&tasks[i].go_on);
    }
    verify_destroy(&verify);
    cr_expect_neq(sem_trywait(&tasks[1].done), 0);
    cr_expect_eq(sem_trywait(&tasks[2].done), 0);
    cr_expect_eq(sem_trywait(&tasks[3].done), 0);
    cr_expect_not(tasks[3].job.is_queued);
}
