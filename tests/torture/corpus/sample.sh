#!/bin/sh
fly() {
  echo late
}
fly
