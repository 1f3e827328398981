<?php
class Bat {
  public function fly() {}
}
function hunt() {}
